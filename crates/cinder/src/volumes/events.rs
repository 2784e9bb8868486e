//! What nova is told of volumes that its servers use.

use kit::Error;
use sdk::compute::ExternalEvent;

use crate::messages::{self, Action, cause::Cause};
use crate::{Cinder, attachments};

/// Tells nova for every server that has the volume. The volume has changed whether or not nova listens, and the user is told if it does not.
pub async fn tell(app: &Cinder, caller: &rpc::Caller, volume_id: &str, (name, tag): (&str, &str), (action, cause): (Action, Cause)) {
    let told = async {
        let servers = attachments::store::of_volume(app.db().read(), volume_id).await?;
        let event = |server: String| ExternalEvent {
            name: name.into(),
            server_uuid: server,
            status: "completed".into(),
            tag: Some(tag.to_owned()),
        };
        let events: Vec<_> = servers.into_iter().filter_map(|attachment| attachment.instance_id).map(event).collect();
        match events.is_empty() {
            true => Ok(()),
            false => app.compute().external_events(&app.session().auth(&caller.request_id).await?, &events).await.map_err(Error::from),
        }
    };
    if let Err(error) = told.await {
        tracing::warn!(volume = volume_id, event = name, %error, "nova was not told");
        messages::tell_cause(app, caller, action, volume_id, cause).await;
    }
}
