#!/usr/bin/python3
"""Acts on commands: prints them, where you would do something. `./act.py --user` hears a daemon of your own session."""

import json
import sys

from gi.repository import Gio, GLib


def set_light(room, state):
    print(f"the light in the {room} is {state}", flush=True)


def stop():
    print("everything stops", flush=True)


COMMANDS = {"set_light": set_light, "stop": stop}


def invoked(_bus, _sender, _path, _interface, _signal, parameters):
    number, name, arguments, details = parameters.unpack()
    if name in COMMANDS:
        COMMANDS[name](**json.loads(arguments))


bus = Gio.bus_get_sync(Gio.BusType.SESSION if "--user" in sys.argv else Gio.BusType.SYSTEM)
bus.signal_subscribe(
    "org.gemmad1", "org.gemmad1.Commands", "Invoked", "/org/gemmad1/commands", None, Gio.DBusSignalFlags.NONE, invoked
)
bus.flush_sync()
print("waiting for commands", file=sys.stderr, flush=True)
GLib.MainLoop().run()
