// SPDX-License-Identifier: GPL-2.0

//! One task of tokio for each process.
use std::{env, fs, io, os::unix::fs::OpenOptionsExt};
use tokio::{io::unix::AsyncFd, io::Interest, task::JoinSet};

async fn exited(path: String) -> io::Result<()> {
    // 0o4000 is O_NONBLOCK.
    let file = fs::OpenOptions::new().read(true).custom_flags(0o4000).open(path)?;
    AsyncFd::with_interest(file, Interest::READABLE)?.readable().await.map(drop)
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut tasks: JoinSet<_> = env::args().skip(1).map(exited).collect();
    let mut exits = 0;
    while let Some(result) = tasks.join_next().await {
        result??;
        exits += 1;
    }
    println!("{exits} exits");
    Ok(())
}
