//! `gemmactl reload`: the daemon reads its configuration again.

use gemmad_api::ManagerProxy;
use serde::Serialize;

use crate::{args, bus::Way, failure::Failure, terminal::Output};

/// Reloads, and prints which keys took effect and which wait for a restart.
pub async fn run(options: &args::Reload, way: &Way) -> Result<(), Failure> {
    let manager = ManagerProxy::new(&way.connect().await?).await?;
    let (changed, pending) = manager.reload().await?;
    let reloaded = Reloaded { changed, pending };
    let mut output = Output::new();
    if options.json {
        output.json(&reloaded).await
    } else {
        output.line(&reloaded.text()).await
    }
}

/// Keys of the configuration, as `section.key`.
#[derive(Debug, Serialize)]
struct Reloaded {
    /// In force now.
    changed: Vec<String>,
    /// In force after a restart.
    pending: Vec<String>,
}

impl Reloaded {
    fn text(&self) -> String {
        let mut lines = Vec::new();
        if !self.changed.is_empty() {
            lines.push(format!("in force: {}", self.changed.join(", ")));
        }
        if !self.pending.is_empty() {
            lines.push(format!("after a restart: {}", self.pending.join(", ")));
        }
        if lines.is_empty() {
            lines.push("nothing changed".into());
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(changed: &[&str], pending: &[&str]) -> String {
        let owned = |keys: &[&str]| keys.iter().map(|&key| key.to_owned()).collect();
        let (changed, pending) = (owned(changed), owned(pending));
        Reloaded { changed, pending }.text()
    }

    #[test]
    fn keys_in_force_and_keys_that_wait_have_a_line_each() {
        assert_eq!(
            text(&["answer.top_k", "log.level"], &["model.text"]),
            "in force: answer.top_k, log.level\nafter a restart: model.text"
        );
        assert_eq!(
            text(&[], &["engine.batch"]),
            "after a restart: engine.batch"
        );
        assert_eq!(text(&[], &[]), "nothing changed");
    }
}
