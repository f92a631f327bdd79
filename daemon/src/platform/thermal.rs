//! Whether the machine is hot.

use std::path::Path;

/// Temperature, in thousandths of a degree Celsius, from which a zone without a passive trip point is hot. A
/// Raspberry Pi 5 slows itself down from 80 °C on (Raspberry Pi documentation, "Frequency management and
/// thermal control").
const HOT: i64 = 78_000;

/// Whether a thermal zone is at the temperature where the kernel or the firmware slows the processor
/// down. Reads a few small files of sysfs, which takes less than a millisecond; false where there are
/// none.
#[must_use]
pub fn is_hot() -> bool {
    is_hot_in(Path::new("/sys/class/thermal"))
}

fn is_hot_in(zones: &Path) -> bool {
    let Ok(zones) = std::fs::read_dir(zones) else {
        return false;
    };
    zones.flatten().any(|zone| is_zone_hot(&zone.path()))
}

fn is_zone_hot(zone: &Path) -> bool {
    let number = |name: &str| -> Option<i64> { read(zone, name)?.parse().ok() };
    let Some(temperature) = number("temp") else {
        return false;
    };
    let passive = (0..)
        .map_while(|trip| Some((trip, read(zone, &format!("trip_point_{trip}_type"))?)))
        .filter(|(_, kind)| kind == "passive")
        .filter_map(|(trip, _)| number(&format!("trip_point_{trip}_temp")))
        .min();
    temperature >= passive.unwrap_or(HOT)
}

fn read(zone: &Path, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(zone.join(name)).ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let zone = folder.path().join("thermal_zone0");
        std::fs::create_dir(&zone).unwrap();
        for (name, text) in files {
            std::fs::write(zone.join(name), format!("{text}\n")).unwrap();
        }
        folder
    }

    #[test]
    fn hot_is_where_the_kernel_slows_the_processor_down() {
        let at = |temperature| {
            let files = [
                ("temp", temperature),
                ("trip_point_0_type", "active"),
                ("trip_point_0_temp", "50000"),
                ("trip_point_1_type", "passive"),
                ("trip_point_1_temp", "70000"),
            ];
            is_hot_in(zones(&files).path())
        };
        assert!(!at("69999"));
        assert!(at("70000"));
    }

    #[test]
    fn without_such_a_limit_it_is_where_a_pi_slows_down() {
        let at = |temperature| is_hot_in(zones(&[("temp", temperature)]).path());
        assert!(!at("60000"));
        assert!(at("80000"));
    }

    #[test]
    fn a_machine_without_thermometers_is_not_hot() {
        assert!(!is_hot_in(Path::new("/nonexistent")));
        assert!(!is_hot_in(zones(&[("temp", "unknown")]).path()));
    }
}
