//! Several chains in one process, and several endpoints of one chain.

use std::time::Duration;

use oraculum_tests::{
    Res, anvil::Anvil, consumer::Consumer, deployment::Deployment, node::Node, process::ToEnd, rpc::tcp_proxy::TcpProxy,
};

/// A chain with a deployment, a consumer of the iris model, and a node's home, whose endpoint is a proxy that can be cut.
struct Fixture {
    deployment: Deployment,
    consumer: Consumer,
    node: Node,
    proxy: TcpProxy,
    _anvil: Anvil,
}

impl Fixture {
    async fn new(chain_id: &str, number: usize) -> Res<Self> {
        let anvil = Anvil::with(&["--chain-id", chain_id]).await?;
        let proxy = TcpProxy::to(anvil.local.port).await?;
        let deployment = Deployment::deploy(&anvil.local.ws_url()).await?;
        let consumer = Consumer::new(&deployment, &["iris"]).await?;
        let pace = "poll_interval = 0.05\nrequest_timeout = 2\nstart_timeout = 0.5";
        let node = Node::new(&deployment, &proxy.local.ws_url(), number, &[("chain", pace)])?;
        deployment.seat(1 + number, &node.signer, &consumer.ids()).await?;
        Ok(Self { deployment, consumer, node, proxy, _anvil: anvil })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_serves_two_chains_and_the_loss_of_one_does_not_disturb_the_other() -> Res<()> {
    let (mut first, mut second) = tokio::try_join!(Fixture::new("31337", 0), Fixture::new("31338", 1))?;
    // Down at the start, which is no mistake in a configuration.
    second.proxy.cut();
    first.node.start_with(&[&second.node]).await?;
    let ids = first.consumer.ask(3).await?;
    let waiting = second.consumer.ask(2).await?;
    let settled = first.consumer.settle(&first.deployment, &ids, 30).await;
    assert!(settled.is_ok(), "{:?}\n{}", settled.err(), first.node.log());
    second.proxy.mend();
    let settled = second.consumer.settle(&second.deployment, &waiting, 40).await;
    assert!(settled.is_ok(), "{:?}\n{}", settled.err(), first.node.log());

    // Both at once, then without the first.
    let ids = (first.consumer.ask(3).await?, second.consumer.ask(3).await?);
    first.consumer.settle(&first.deployment, &ids.0, 30).await?;
    second.consumer.settle(&second.deployment, &ids.1, 30).await?;
    first.proxy.cut();
    let waiting = first.consumer.ask(2).await?;
    let ids = second.consumer.ask(5).await?;
    let settled = second.consumer.settle(&second.deployment, &ids, 30).await;
    assert!(settled.is_ok(), "{:?}\n{}", settled.err(), first.node.log());
    first.proxy.mend();
    first.consumer.settle(&first.deployment, &waiting, 30).await?;

    assert_eq!(first.node.stop().await?, Some(0), "{}", first.node.log());
    assert_eq!(first.node.wasted(&first.deployment).await?, Vec::<String>::new());
    assert_eq!(second.node.wasted(&second.deployment).await?, Vec::<String>::new());
    assert!(first.node.log().contains("chain{id=31338}"), "lines say which chain they are about");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_that_share_what_belongs_to_one_chain_are_refused_with_the_remedy() -> Res<()> {
    let anvil = Anvil::start().await?;
    let deployment = Deployment::deploy(&anvil.local.ws_url()).await?;
    let node = Node::new(&deployment, &anvil.local.ws_url(), 0, &[])?;
    let twin = Node::new(&deployment, &anvil.local.ws_url(), 0, &[])?;
    for (others, variable, words) in [
        (&node, ("ORACULUM_LOG", "error"), "share node.data_dir"),
        (&twin, ("ORACULUM_LOG", "error"), "share the coordinator"),
        (&twin, ("ORACULUM_CHAIN_CHAIN_ID", "7"), "ORACULUM_CHAIN_CHAIN_ID would set chain.chain_id of every chain"),
    ] {
        let mut command = node.command_with(&[others])?;
        let output = command.env(variable.0, variable.1).stderr(std::process::Stdio::piped()).to_end().await?;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(words), "should say `{words}`: {told}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_served_while_any_of_its_endpoints_lives() -> Res<()> {
    let anvil = Anvil::start().await?;
    let proxies = [TcpProxy::to(anvil.local.port).await?, TcpProxy::to(anvil.local.port).await?];
    let deployment = Deployment::deploy(&anvil.local.ws_url()).await?;
    let mut consumer = Consumer::new(&deployment, &["iris"]).await?;
    let urls = format!("{},{}", proxies[0].local.http_url(), proxies[1].local.ws_url());
    let pace = [("chain", "poll_interval = 0.05\nrequest_timeout = 2")];
    let mut node = Node::new(&deployment, &urls, 0, &pace)?;
    deployment.seat(1, &node.signer, &consumer.ids()).await?;
    node.start().await?;
    for down in [None, Some(0), Some(1), Some(0), None] {
        if let Some(down) = down {
            proxies[down].cut();
        }
        let ids = consumer.ask(4).await?;
        let settled = consumer.settle(&deployment, &ids, 30).await;
        assert!(settled.is_ok(), "{down:?}: {:?}\n{}", settled.err(), node.log());
        for proxy in &proxies {
            proxy.mend();
        }
        // So that the one that was down is noticed to be back.
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(node.stop().await?, Some(0), "{}", node.log());
    assert_eq!(node.wasted(&deployment).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_line_holds_an_endpoints_secret_at_any_level() -> Res<()> {
    let anvil = Anvil::start().await?;
    let proxy = TcpProxy::to(anvil.local.port).await?;
    let deployment = Deployment::deploy(&anvil.local.ws_url()).await?;
    let mut consumer = Consumer::new(&deployment, &["iris"]).await?;
    let secrets = ["hunter2-user", "hunter2-word", "hunter2-key"];
    let secret = |url: String| {
        let [user, word, key] = secrets;
        format!("{}/?key={key}", url.replacen("://", &format!("://{user}:{word}@"), 1))
    };
    let urls = format!("{},{}", secret(proxy.local.http_url()), secret(proxy.local.ws_url()));
    let pace = [("chain", "poll_interval = 0.05\nrequest_timeout = 2")];
    let node = Node::new(&deployment, &urls, 0, &pace)?;
    deployment.seat(1, &node.signer, &consumer.ids()).await?;
    let log = node.home().join("log");
    let mut command = node.command()?;
    command.env("ORACULUM_LOG", "trace").stderr(std::fs::File::create(&log)?);
    let mut process = command.spawn()?;
    let ids = consumer.ask(2).await?;
    let settled = consumer.settle(&deployment, &ids, 60).await;
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
