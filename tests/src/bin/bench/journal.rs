//! Millions of writes to a journal, as a node makes them that answers 128 requests a block for as long as it takes: memory
//! and files must not grow with them.

use std::{collections::VecDeque, time::Instant};

use alloy::primitives::{Address, B256, Bytes, keccak256};
use oraculum::{
    chain::{BlockRef, Receipt},
    domain::{AnswerRef, Attempt, Claim, Entry, Purpose, Resolution, Task, TrackedTransaction, Transition},
    journal::{Batch, Identity, Journal, Position, SledJournal, View},
    protocol::{Outcome, request::Request},
};
use oraculum_tests::Res;

use super::{plot::Plot, process};

/// Requests a block, and answers or claims a transaction.
const REQUESTS: u64 = 128;
const TOGETHER: usize = 32;
/// Bytes of calldata for an answer or a claim.
const CALLDATA: usize = 500;
/// Blocks behind the head of what is final, and of what can be claimed.
const FINAL: u64 = 64;
const VESTED: u64 = 100;
/// Closed jobs that are kept, as by the watcher.
const KEPT: usize = 100_000;
const SAMPLES: u64 = 240;

const SENDER: Address = Address::repeat_byte(7);

fn block(number: u64) -> BlockRef {
    BlockRef { number, hash: keccak256(number.to_be_bytes()) }
}

fn id(number: u64, at: u64) -> B256 {
    keccak256([number.to_be_bytes(), at.to_be_bytes()].concat())
}

fn ids(number: u64) -> impl Iterator<Item = B256> {
    (0..REQUESTS).map(move |at| id(number, at))
}

fn request(number: u64, id: B256) -> Request {
    Request {
        model_id: B256::repeat_byte(1),
        input_hash: id,
        consumer: Address::repeat_byte(2),
        nonce: number,
        seat_count: 3,
        refund_to: Address::repeat_byte(3),
        fee: "1000000000000000".parse().unwrap_or_default(),
        token: Address::ZERO,
        submit_fee: "200000000000000".parse().unwrap_or_default(),
        value_at_risk: alloy::primitives::aliases::U96::ZERO,
        request_block: number,
        callback_gas_limit: 100_000,
        output: oraculum::protocol::OutputFormat::default(),
        version: 1,
        deadline_blocks: 100,
        input_kind: oraculum::protocol::request::InputKind::Inline,
        quorum: 1,
        level: oraculum::protocol::request::Level::Fast,
    }
}

/// A node's writes, without the node.
struct Writer {
    journal: SledJournal,
    operations: u64,
    nonce: u64,
    /// Transactions that are not final, with the block that mined them.
    open: VecDeque<(u64, TrackedTransaction)>,
}

impl Writer {
    fn commit(&mut self, batch: &Batch) -> Res<()> {
        let parts = [
            usize::from(batch.cursor.is_some()),
            batch.recent_blocks.len() + batch.recent_blocks_gone.len(),
            batch.seen.len() + batch.vanished.len() + batch.moves.len(),
            batch.transactions.len() + batch.transactions_gone.len(),
            batch.claims.len() + batch.claims_gone.len() + batch.booked.len(),
        ];
        self.operations += parts.iter().sum::<usize>() as u64;
        match self.journal.commit(batch)?.first() {
            Some((id, illegal)) => Err(format!("{id}: {illegal}").into()),
            None => Ok(()),
        }
    }

    /// Writes down a transaction, and then that it was mined.
    fn send(&mut self, number: u64, purpose: Purpose, moves: impl FnOnce(u64) -> Vec<(B256, Transition)>) -> Res<()> {
        let nonce = self.nonce;
        self.nonce += 1;
        let mut noise = keccak256(nonce.to_be_bytes());
        let mut data = Vec::new();
        while data.len() < TOGETHER * CALLDATA {
            data.extend_from_slice(noise.as_slice());
            noise = keccak256(noise);
        }
        let raw = Bytes::from(data);
        let attempt =
            Attempt { hash: keccak256(&raw), raw, gas: 1_000_000, max_fee: 1, max_priority_fee: 1, at: number };
        let mut slot = TrackedTransaction { sender: SENDER, nonce, purpose, attempts: vec![attempt], mined: None };
        self.commit(&Batch { transactions: vec![slot.clone()], moves: moves(nonce), ..Batch::default() })?;
        slot.mined = Some(Receipt { block: block(number + 1), success: true, gas_used: 1, gas_price: 1, data_fee: 0 });
        self.commit(&Batch { transactions: vec![slot.clone()], ..Batch::default() })?;
        self.open.push_back((number + 1, slot));
        Ok(())
    }

    /// All that one block brings.
    fn block(&mut self, number: u64) -> Res<()> {
        let seen = |id| (Task { id, request: request(number, id), block: block(number) }, Bytes::from(vec![1; 80]));
        let mut batch = Batch {
            cursor: Some(block(number)),
            recent_blocks: vec![block(number)],
            recent_blocks_gone: number.checked_sub(FINAL).into_iter().collect(),
            seen: ids(number).map(seen).collect(),
            ..Batch::default()
        };
        let ending = || Resolution::Fulfilled {
            outcome: Outcome::Ok,
            output_commitment: B256::repeat_byte(4),
            seats: Bytes::from_static(&[0; 4]),
            ours: true,
        };
        for id in number.checked_sub(1).into_iter().flat_map(ids) {
            let settled = Transition::Included { at: block(number), transaction: Some(id), ending: ending() };
            batch.moves.push((id, settled));
            batch.claims.push(claim(number, id));
        }
        batch.moves.extend(number.checked_sub(FINAL).into_iter().flat_map(ids).map(|id| (id, Transition::Finalized)));
        let paid = number.checked_sub(VESTED + 2).into_iter().flat_map(ids);
        batch.claims.extend(paid.map(|id| Claim { paid_at: Some(number), ..claim(number - VESTED - 1, id) }));
        batch.claims_gone = number.checked_sub(VESTED + 2 + FINAL).into_iter().flat_map(ids).collect();
        let surplus = self.journal.count(View::Finalized).saturating_sub(KEPT);
        let all = Position::first_at(0)..Position::last_at(u64::MAX);
        batch.vanished = self.journal.walk(View::Finalized, all, surplus)?.into_iter().map(|at| at.id).collect();
        self.commit(&batch)?;
        let asked: Vec<B256> = ids(number).collect();
        for part in asked.chunks(TOGETHER) {
            let items = part.iter().map(|&id| AnswerRef { id, block: block(number).hash }).collect();
            let sent = |nonce| {
                let sent = Transition::Sent { block: block(number).hash, sender: SENDER, nonce, hash: B256::ZERO };
                part.iter().map(|&id| (id, sent.clone())).collect()
            };
            self.send(number, Purpose::Answer { items }, sent)?;
        }
        let vested: Vec<B256> = number.checked_sub(VESTED + 1).into_iter().flat_map(ids).collect();
        for part in vested.chunks(TOGETHER) {
            self.send(number, Purpose::Claim { ids: part.to_vec() }, |_| Vec::new())?;
        }
        let mut gone = Batch::default();
        while self.open.front().is_some_and(|(mined, _)| mined + FINAL < number) {
            if let Some((_, slot)) = self.open.pop_front() {
                gone.transactions_gone.push((slot.sender, slot.nonce));
                gone.booked.push(Entry { hour: number / 3_600, spent: 1, answers: 32, ..Entry::default() });
            }
        }
        self.commit(&gone)
    }
}

fn claim(fulfilled_at: u64, id: B256) -> Claim {
    Claim {
        id,
        request: request(fulfilled_at, id),
        outcome: Outcome::Ok,
        output_commitment: B256::repeat_byte(4),
        seats: Bytes::from_static(&[0; 4]),
        fulfilled_at,
        vests_at: fulfilled_at + VESTED,
        paid_at: None,
    }
}

/// Makes so many writes; the plot goes to the file, if one is given.
pub(super) fn run(operations: u64, file: Option<&str>) -> Res<()> {
    let folder = tempfile::tempdir()?;
    let identity = Identity { chain_id: 1, coordinator: Address::ZERO, signer: Address::ZERO };
    let journal = SledJournal::open(folder.path(), &identity)?;
    let mut writer = Writer { journal, operations: 0, nonce: 0, open: VecDeque::new() };
    let (mut memory, mut disk) = (Vec::new(), Vec::new());
    let began = Instant::now();
    let mut number = 0;
    while writer.operations < operations {
        writer.block(number)?;
        number += 1;
        if writer.operations * SAMPLES / operations > memory.len() as u64 {
            let millions = writer.operations as f64 / 1e6;
            memory.push((millions, process::own()?));
            disk.push((millions, process::size(folder.path())?));
        }
    }
    let took = began.elapsed().as_secs_f64();
    println!("{} operations in {took:.0} s, {} blocks of {REQUESTS} requests", writer.operations, number);
    let mut content = 0;
    for record in writer.journal.records()? {
        content += serde_json::to_vec(&record?)?.len();
    }
    println!("{:.1} MB as JSON lines at the end\n", content as f64 / 1048576.0);
    let lines = [("memory, MB", &memory[..]), ("journal on disk, MB", &disk[..])];
    Plot { x: "million operations", lines: &lines }.report(file)
}
