//! `oraculum node revoke` and `rekey`: the signing key is taken away, and replaced.

use std::{collections::HashMap, path::PathBuf};

use alloy::primitives::{Address, B256};
use serde::Serialize;

use super::{NodeArgs, activate};
use crate::{
    cli::{CommandResult, model_names, print_json, tell},
    client::{Account, Client, OwnedSeats, Revocation, Seat, register_node, registered_uri, revoke_key, signing_key},
    config::Settings,
    keys::{Cost, Replacement},
};

/// What `revoke --json` prints.
#[derive(Serialize)]
struct Revoked {
    /// The key that was revoked now; null if it had been before.
    signer: Option<Address>,
    /// The seats that lost a revoked key.
    seats: Vec<Seat>,
    transaction: B256,
}

/// Runs `revoke`.
pub(super) async fn revoke(args: &NodeArgs, settings: &Settings, client: &Client, by_key: bool) -> CommandResult {
    let caller = if by_key {
        Account::new(client.clone(), args.typed.open(&settings.keys.signer, args.passwords(settings))?.0)
    } else {
        args.owner(settings, client)?
    };
    let owned = OwnedSeats::read(client, settings).await?;
    let Revocation { signer, seats: lost, transaction } = revoke_key(&caller, settings, &owned).await?;
    if args.json {
        let mut seats = Vec::new();
        for seat in &lost {
            seats.push(Seat::read(client, settings.chain.coordinator, seat.model, seat.index).await?);
        }
        return print_json(&Revoked { signer, seats, transaction });
    }
    if let Some(signer) = signer {
        tell!("{signer} is revoked (transaction {transaction})");
    }
    let names = model_names(&settings.node.models_dir);
    for seat in &lost {
        let was = seat.state(owned.head, seat.signer);
        tell!("seat {} on {} has no key any more; it was: {was}", seat.index, name_of(&names, seat));
    }
    if lost.is_empty() {
        tell!("no seat had the key");
    }
    tell!(
        "next: `oraculum node rekey` makes another key and gives it to the seats; the running node cannot answer before"
    );
    Ok(())
}

/// What `rekey --json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rekeyed {
    signer: Address,
    keystore: PathBuf,
    /// Where the keystore of the key before is now; null if there was none.
    old_keystore: Option<PathBuf>,
    seats: Vec<Seat>,
}

/// Runs `rekey`. Each step is left out where it was done already, so a run that was broken off is gone on with.
pub(super) async fn rekey(
    args: &NodeArgs,
    settings: &Settings,
    owner: &Account,
    uri: Option<&str>,
    no_wait: bool,
) -> CommandResult {
    let (client, coordinator) = (owner.client(), settings.chain.coordinator);
    let keystore = settings.keys.signer.clone();
    let replacement = Replacement::prepare(&keystore, args.passwords(settings), &args.typed, Cost::Standard)?;
    let signer = replacement.key.address();
    if signing_key(client, coordinator, owner.address()).await? != Some(signer) {
        let uri = match uri {
            Some(uri) => uri.to_owned(),
            None => registered_uri(client, settings).await?,
        };
        let transaction = register_node(owner, coordinator, &replacement.key, &uri).await?;
        tell!("{signer} answers for {} (transaction {transaction})", owner.address());
    }
    let rekeyed = OwnedSeats::read(client, settings).await?.rekey(owner, signer).await?;
    let names = model_names(&settings.node.models_dir);
    for seat in &rekeyed {
        tell!("seat {} on {} has the new key", seat.index, name_of(&names, seat));
    }
    let old_keystore = replacement.finish()?;
    if let Some(old) = &old_keystore {
        tell!("the new key is in {}; the old one is kept in {}", keystore.display(), old.display());
    }
    tell!("next: restart the node; it answers with the new key once its seats are live");
    let mut seats = Vec::new();
    for seat in rekeyed {
        seats.push(activate::activate(owner, settings, seat.model, seat.index, no_wait).await?);
    }
    if args.json {
        return print_json(&Rekeyed { signer, keystore, old_keystore, seats });
    }
    activate::tell_activated(settings, &seats);
    Ok(())
}

fn name_of(names: &HashMap<B256, String>, seat: &Seat) -> String {
    names.get(&seat.model).cloned().unwrap_or_else(|| seat.model.to_string())
}
