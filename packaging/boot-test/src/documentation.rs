//! Follows `docs/install.md`: every command in it that needs no device is run, word by word and in order, by a user
//! who may use sudo.
//!
//! Each block that begins with "```sh" is one login; blocks that begin with "```sh device" are left out.

use std::fs;

use anyhow::ensure;
use xtask::command::root;

use crate::{
    checklist::Checklist,
    login::Login,
    machine::Machine,
    package::{Packages, carry},
};

/// The user who owns the machine.
const OWNER: &str = "pi";

pub async fn checks(list: &mut Checklist, machine: &Machine, packages: &Packages) {
    let prepared = async {
        let owner = Login::create(machine, OWNER).await?;
        let rule = format!("{OWNER} ALL=(ALL) NOPASSWD: ALL\n");
        fs::write(machine.path("/etc/sudoers.d/owner"), rule)?;
        // Nothing answers apt's questions.
        let answer = "APT::Get::Assume-Yes \"true\";\n";
        fs::write(machine.path("/etc/apt/apt.conf.d/yes"), answer)?;
        carry(machine, packages.newer(), &format!("/home/{OWNER}"))?;
        Ok(owner)
    };
    let Ok(owner) = list.must("somebody owns the machine", prepared).await else {
        return;
    };
    let page = root().join("docs/install.md");
    let Ok(text) = list
        .must("docs/install.md can be read", async {
            Ok(fs::read_to_string(&page)?)
        })
        .await
    else {
        return;
    };
    for block in blocks(&text) {
        let what = block.lines().next().unwrap_or_default();
        list.check(&format!("$ {what}"), async {
            let done = owner.run(&format!("set -e\n{block}")).await?;
            ensure!(
                done.code == Some(0),
                "{block}{}{}",
                done.stdout,
                done.stderr
            );
            let more = block.lines().count() - 1;
            Ok(if more == 0 {
                String::new()
            } else {
                format!("and {more} more")
            })
        })
        .await;
    }
}

/// The blocks of commands that do not need a device.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while lines.by_ref().any(|line| line == "```sh") {
        let block = lines.by_ref().take_while(|line| *line != "```");
        blocks.push(block.flat_map(|line| [line, "\n"]).collect());
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_need_the_device_are_left_out() {
        let text =
            "# Title\n\n```sh\none\ntwo\n```\n\n```sh device\nthree\n```\n\n```sh\nfour\n```\n";
        assert_eq!(blocks(text), ["one\ntwo\n", "four\n"]);
    }
}
