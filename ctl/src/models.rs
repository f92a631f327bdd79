//! `gemmactl models`: the model is loaded, or its memory is given back.

use gemmad_api::ManagerProxy;

use crate::{args::Models, bus::Way, failure::Failure};

/// Loads or unloads the model, and ends when that is done.
pub async fn run(what: Models, way: &Way) -> Result<(), Failure> {
    let manager = ManagerProxy::new(&way.connect().await?).await?;
    match what {
        Models::Load => manager.load_model().await?,
        Models::Unload => manager.unload_model().await?,
    }
    Ok(())
}
