#!/bin/sh
# Acts on commands: prints them, where you would run a program. Only root may watch the system bus with busctl;
# `./act.sh --user` watches your own.
set -eu

act() {
    name=$(printf '%s\n' "$1" | jq --raw-output .name)
    case $name in
    set_light)
        room=$(printf '%s\n' "$1" | jq --raw-output .arguments.room)
        state=$(printf '%s\n' "$1" | jq --raw-output .arguments.state)
        # Always in quotes, and after `--` where a program takes options.
        printf 'the light in the %s is %s\n' "$room" "$state"
        ;;
    stop)
        printf 'everything stops\n'
        ;;
    esac
}

busctl "${1:---system}" --json=short --match \
    "type='signal',sender='org.gemmad1',interface='org.gemmad1.Commands',member='Invoked'" monitor |
    jq --unbuffered --compact-output 'select(.member == "Invoked") | .payload.data | {name: .[1], arguments: (.[2] | fromjson)}' |
    while read -r command; do
        act "$command"
    done
