//! The wait for a seat's activation delay, as it is told.

use alloy::{primitives::B256, providers::Provider};

use crate::{
    cli::{model_names, tell},
    client::{Account, AccountError, ActivationWait, Client, Seat, activate_seat},
    config::Settings,
};

/// Makes a seat live once its activation delay has passed, unless nobody waits; returns the seat as it is then.
pub(super) async fn activate(
    owner: &Account,
    settings: &Settings,
    model: B256,
    index: u32,
    no_wait: bool,
) -> Result<Seat, AccountError> {
    let (client, coordinator) = (owner.client(), settings.chain.coordinator);
    if !no_wait {
        let on_demand = mines_on_demand(client).await;
        let url = client.endpoint().to_string();
        activate_seat(owner, coordinator, model, index, |wait| tell_wait(wait, on_demand, &url)).await?;
    }
    Seat::read(client, coordinator, model, index).await
}

/// Tells which seats are live, and what makes the others so.
pub(super) fn tell_activated(settings: &Settings, seats: &[Seat]) {
    let names = model_names(&settings.node.models_dir);
    for seat in seats {
        let name = names.get(&seat.model).cloned().unwrap_or_else(|| seat.model.to_string());
        match seat.live {
            true => tell!("seat {} on {name} is live", seat.index),
            false => tell!(
                "seat {} on {name}: `oraculum node join {name}` makes it live from block {} on",
                seat.index,
                seat.from
            ),
        }
    }
}

/// Whether the endpoint is an Anvil that makes a block only for a transaction.
async fn mines_on_demand(client: &Client) -> bool {
    let asked = client.provider().raw_request::<_, bool>("anvil_getAutomine".into(), ());
    client.ask(asked).await.unwrap_or(false)
}

fn tell_wait(wait: ActivationWait, on_demand: bool, url: &str) {
    let ActivationWait { index, from, head, stalled } = wait;
    // The transaction that makes it live is a block of its own.
    let missing = from.saturating_sub(head + 1);
    if on_demand {
        tell!(
            "seat {index} can be live from block {from} on; this is block {head}, and this chain makes a block only for a \
             transaction: `cast rpc anvil_mine {missing} --rpc-url {url}` makes the {missing} that are missing"
        );
    } else if stalled {
        tell!("still block {head}: no block has come for a while; check the chain, or stop, and run this again later");
    } else {
        tell!("waiting for block {from} to make seat {index} live; this is block {head}");
    }
}
