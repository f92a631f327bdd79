//! The private bus.

use std::time::Duration;

use gemmad_testbed::Bus;
use zbus::fdo::DBusProxy;

#[tokio::test]
async fn two_buses_know_nothing_of_each_other_and_go_when_dropped() {
    let patience = Duration::from_secs(5);
    let (one, two) = (Bus::start().await.unwrap(), Bus::start().await.unwrap());
    let owner = one.connect(patience).await.unwrap();
    owner.request_name("org.gemmad1").await.unwrap();
    let name = || "org.gemmad1".try_into().unwrap();
    for (bus, owned) in [(&one, true), (&two, false)] {
        let connection = bus.connect(patience).await.unwrap();
        let proxy = DBusProxy::new(&connection).await.unwrap();
        assert_eq!(proxy.name_has_owner(name()).await.unwrap(), owned);
    }
    let address = two.address().to_owned();
    drop(two);
    let gone = zbus::connection::Builder::address(address.as_str())
        .build()
        .await;
    assert!(gone.is_err());
}
