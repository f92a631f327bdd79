//! `gemmactl timers`.

use gemmad_testbed::{Bus, Daemon};

use crate::gemmactl::Gemmactl;

#[tokio::test]
async fn timers_are_set_listed_and_cancelled() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let run =
        async |arguments: &[&str]| Gemmactl::run(&daemon, &[&["timers"], arguments].concat()).await;
    let set = run(&["set", "10m", "green", "tea"]).await;
    assert_eq!((set.code, &*set.stdout), (Some(0), "1\n"));
    run(&["set", "1h30m"]).await;
    let listed = run(&["list"]).await;
    let lines: Vec<_> = listed.stdout.lines().collect();
    assert!(
        lines[0].starts_with("1    timer  in ") && lines[0].ends_with("  green tea"),
        "{listed:?}"
    );
    assert!(lines[1].starts_with("2    timer  in 1h "), "{listed:?}");
    let json = run(&["list", "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        (&json[0]["id"], &json[0]["name"]),
        (&1.into(), &"green tea".into())
    );
    assert_eq!(run(&["cancel", "1"]).await.code, Some(0));
    assert_eq!(run(&["cancel", "1"]).await.code, Some(4));
    let all = run(&["cancel", "--all"]).await;
    assert_eq!(all.stdout, "1 timer cancelled\n");
    for wrong in [&["set", "soon"][..], &["set"], &["cancel"]] {
        assert_eq!(run(wrong).await.code, Some(2), "{wrong:?}");
    }
}
