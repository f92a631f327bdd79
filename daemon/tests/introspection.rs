//! The checked-in introspection files are what the running daemon says of itself.
//!
//! They are for bindings in other languages. After a deliberate change of the contract, run this test
//! with `UPDATE=1` to write them anew.

use std::path::Path;

use gemmad_api::{
    COMMANDS_PATH, CONVERSATIONS_PATH, MANAGER_PATH, SERVICE, TIMERS_PATH, VOICE_PATH,
};
use gemmad_testbed::{Bus, Daemon};
use zbus::fdo::IntrospectableProxy;

#[tokio::test]
async fn the_contract_on_the_bus_is_the_one_checked_in() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    for (path, interface) in [
        (MANAGER_PATH, "org.gemmad1.Manager"),
        (VOICE_PATH, "org.gemmad1.Voice"),
        (COMMANDS_PATH, "org.gemmad1.Commands"),
        (CONVERSATIONS_PATH, "org.gemmad1.Conversations"),
        (TIMERS_PATH, "org.gemmad1.Timers"),
    ] {
        let object = IntrospectableProxy::builder(daemon.connection())
            .destination(SERVICE)
            .path(path)
            .build()
            .await
            .unwrap();
        let said = only(&object.introspect().await.unwrap(), interface);
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("api")
            .join(format!("{interface}.xml"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, &said).unwrap();
        }
        let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(said, checked_in, "{} is out of date", file.display());
    }
}

/// The description of one interface, as a document of its own.
fn only(introspection: &str, interface: &str) -> String {
    let start = introspection
        .find(&format!("<interface name=\"{interface}\">"))
        .unwrap();
    let length = introspection[start..].find("</interface>").unwrap();
    let body = &introspection[start..start + length];
    format!("<node>\n  {}\n  </interface>\n</node>\n", body.trim_end())
}
