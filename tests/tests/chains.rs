//! Several chains in one process, and several endpoints of one chain.

use std::time::Duration;

use oraculum_tests::{Res, anvil::Anvil, asker::Asker, market::Market, node::Node, proxy::Proxy};

/// A chain with a market, a consumer of the iris model, and a node's home, whose endpoint is a proxy that can be cut.
struct Stage {
    market: Market,
    asker: Asker,
    node: Node,
    proxy: Proxy,
    _anvil: Anvil,
}

impl Stage {
    async fn new(chain_id: &str, number: usize) -> Res<Self> {
        let anvil = Anvil::with(&["--chain-id", chain_id]).await?;
        let proxy = Proxy::to(anvil.port()).await?;
        let market = Market::deploy(&anvil.ws_url()).await?;
        let asker = Asker::new(&market, &["iris"]).await?;
        let pace = "poll_interval = 0.05\nrequest_timeout = 2\nstart_timeout = 0.5";
        let node = Node::new(&market, &proxy.ws_url(), number, &[("chain", pace)])?;
        market.seat(1 + number, &node.signer, &asker.ids()).await?;
        Ok(Self { market, asker, node, proxy, _anvil: anvil })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_serves_two_chains_and_the_loss_of_one_does_not_disturb_the_other() -> Res<()> {
    let (mut first, mut second) = tokio::try_join!(Stage::new("31337", 0), Stage::new("31338", 1))?;
    // Down at the start, which is no mistake in a configuration.
    second.proxy.cut();
    first.node.start_with(&[&second.node]).await?;
    let ids = first.asker.ask(3).await?;
    let waiting = second.asker.ask(2).await?;
    let settled = first.asker.settle(&first.market, &ids, 30).await;
    assert!(settled.is_ok(), "{:?}\n{}", settled.err(), first.node.log());
    second.proxy.mend();
    let settled = second.asker.settle(&second.market, &waiting, 40).await;
    assert!(settled.is_ok(), "{:?}\n{}", settled.err(), first.node.log());

    // Both at once, then without the first.
    let ids = (first.asker.ask(3).await?, second.asker.ask(3).await?);
    first.asker.settle(&first.market, &ids.0, 30).await?;
    second.asker.settle(&second.market, &ids.1, 30).await?;
    first.proxy.cut();
    let waiting = first.asker.ask(2).await?;
    let ids = second.asker.ask(5).await?;
    let settled = second.asker.settle(&second.market, &ids, 30).await;
    assert!(settled.is_ok(), "{:?}\n{}", settled.err(), first.node.log());
    first.proxy.mend();
    first.asker.settle(&first.market, &waiting, 30).await?;

    assert_eq!(first.node.stop().await?, Some(0), "{}", first.node.log());
    assert_eq!(first.node.wasted(&first.market).await?, Vec::<String>::new());
    assert_eq!(second.node.wasted(&second.market).await?, Vec::<String>::new());
    assert!(first.node.log().contains("chain{id=31338}"), "lines say which chain they are about");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_that_share_what_belongs_to_one_chain_are_refused_with_the_remedy() -> Res<()> {
    let anvil = Anvil::start().await?;
    let market = Market::deploy(&anvil.ws_url()).await?;
    let node = Node::new(&market, &anvil.ws_url(), 0, &[])?;
    let twin = Node::new(&market, &anvil.ws_url(), 0, &[])?;
    for (others, variable, words) in [
        (&node, ("ORACULUM_LOG", "error"), "share node.data_dir"),
        (&twin, ("ORACULUM_LOG", "error"), "share the coordinator"),
        (&twin, ("ORACULUM_CHAIN_CHAIN_ID", "7"), "ORACULUM_CHAIN_CHAIN_ID would set chain.chain_id of every chain"),
    ] {
        let mut command = node.command_with(&[others])?;
        let output = command.env(variable.0, variable.1).stderr(std::process::Stdio::piped()).output().await?;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(words), "should say `{words}`: {told}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_served_while_any_of_its_endpoints_lives() -> Res<()> {
    let anvil = Anvil::start().await?;
    let proxies = [Proxy::to(anvil.port()).await?, Proxy::to(anvil.port()).await?];
    let market = Market::deploy(&anvil.ws_url()).await?;
    let mut asker = Asker::new(&market, &["iris"]).await?;
    let urls = format!("{},{}", proxies[0].http_url(), proxies[1].ws_url());
    let pace = [("chain", "poll_interval = 0.05\nrequest_timeout = 2")];
    let mut node = Node::new(&market, &urls, 0, &pace)?;
    market.seat(1, &node.signer, &asker.ids()).await?;
    node.start().await?;
    for down in [None, Some(0), Some(1), Some(0), None] {
        if let Some(down) = down {
            proxies[down].cut();
        }
        let ids = asker.ask(4).await?;
        let settled = asker.settle(&market, &ids, 30).await;
        assert!(settled.is_ok(), "{down:?}: {:?}\n{}", settled.err(), node.log());
        for proxy in &proxies {
            proxy.mend();
        }
        // So that the one that was down is noticed to be back.
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(node.stop().await?, Some(0), "{}", node.log());
    assert_eq!(node.wasted(&market).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_line_holds_an_endpoints_secret_at_any_level() -> Res<()> {
    let anvil = Anvil::start().await?;
    let proxy = Proxy::to(anvil.port()).await?;
    let market = Market::deploy(&anvil.ws_url()).await?;
    let mut asker = Asker::new(&market, &["iris"]).await?;
    let secrets = ["hunter2-user", "hunter2-word", "hunter2-key"];
    let secret = |url: String| {
        let [user, word, key] = secrets;
        format!("{}/?key={key}", url.replacen("://", &format!("://{user}:{word}@"), 1))
    };
    let urls = format!("{},{}", secret(proxy.http_url()), secret(proxy.ws_url()));
    let pace = [("chain", "poll_interval = 0.05\nrequest_timeout = 2")];
    let node = Node::new(&market, &urls, 0, &pace)?;
    market.seat(1, &node.signer, &asker.ids()).await?;
    let log = node.home().join("log");
    let mut command = node.command()?;
    command.env("ORACULUM_LOG", "trace").stderr(std::fs::File::create(&log)?);
    let mut process = command.spawn()?;
    let ids = asker.ask(2).await?;
    let settled = asker.settle(&market, &ids, 60).await;
    // Its errors, too.
    proxy.cut();
    tokio::time::sleep(Duration::from_secs(1)).await;
    process.kill().await?;
    settled?;
    let told = node.log();
    assert!(told.contains("TRACE") && told.contains("the endpoint fails"), "the log is one");
    for secret in secrets {
        let line = told.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
    Ok(())
}
