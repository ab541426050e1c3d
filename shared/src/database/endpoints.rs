//! The servers that a database URL names, one by one: a connection and the probes that watch it must go
//! to the same one, whatever address a name has by then.

use anyhow::{Context, Result};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::config::{Config, Host, LoadBalanceHosts, SslMode, SslNegotiation};

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Tcp { host: String, address: Option<IpAddr>, port: u16 },
    Unix { directory: PathBuf, port: u16 },
}

/// All servers of `config`, in the order in which they are tried.
pub(super) fn endpoints(config: &Config) -> Vec<Endpoint> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let mut endpoints: Vec<Endpoint> = (0..hosts.len().max(addresses.len()))
        .map(|number| {
            let port = ports.get(number).or(ports.first()).copied().unwrap_or(5432);
            let address = addresses.get(number).copied();
            match (hosts.get(number), address) {
                (Some(Host::Unix(directory)), _) => Endpoint::Unix { directory: directory.clone(), port },
                (Some(Host::Tcp(host)), address) => Endpoint::Tcp { host: host.clone(), address, port },
                (None, Some(address)) => {
                    Endpoint::Tcp { host: address.to_string(), address: Some(address), port }
                }
                (None, None) => Endpoint::Tcp { host: "localhost".to_owned(), address: None, port },
            }
        })
        .collect();
    if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
        fastrand::shuffle(&mut endpoints);
    }
    endpoints
}

impl Endpoint {
    /// The endpoint with each address that its name has now. May block for as long as the
    /// resolver of the system does.
    pub(super) fn resolve(&self) -> Result<Vec<Endpoint>> {
        let Endpoint::Tcp { host, address: None, port } = self else { return Ok(vec![self.clone()]) };
        let found =
            (host.as_str(), *port).to_socket_addrs().with_context(|| format!("look up the host {host}"))?;
        Ok(found
            .map(|found| Endpoint::Tcp { host: host.clone(), address: Some(found.ip()), port: *port })
            .collect())
    }

    /// Whether another machine is meant, as far as its name says.
    pub(super) fn is_elsewhere(&self) -> bool {
        match self {
            Endpoint::Unix { .. } => false,
            Endpoint::Tcp { address: Some(address), .. } => !address.is_loopback(),
            Endpoint::Tcp { host, .. } => is_another_machine(host),
        }
    }

    /// The name and the port by which a password file knows it.
    pub(super) fn in_password_file(&self) -> (String, u16) {
        match self {
            Endpoint::Tcp { host, port, .. } => (host.clone(), *port),
            Endpoint::Unix { directory, port } => (directory.display().to_string(), *port),
        }
    }

    /// The settings of `config` for this server only, so that its socket is handed to the watch (see
    /// [`super::watched`]). A Unix socket is not handed over.
    pub(super) fn config(&self, config: &Config, connect_timeout: Duration) -> Config {
        let mut own = without_servers(config);
        own.connect_timeout(connect_timeout);
        match self {
            Endpoint::Tcp { host, address, port } => {
                own.host(host).port(*port);
                own.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
                if let Some(address) = address {
                    own.hostaddr(*address);
                }
            }
            Endpoint::Unix { directory, port } => {
                own.host_path(directory).port(*port).ssl_mode(SslMode::Disable);
            }
        }
        own
    }
}

/// Whether a host's name or address stands for another machine than this one.
pub(crate) fn is_another_machine(host: &str) -> bool {
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(address) => !address.is_loopback(),
        Err(_) => host != "localhost" && !host.ends_with(".localhost"),
    }
}

fn without_servers(config: &Config) -> Config {
    let mut own = Config::new();
    own.target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle());
    if let Some(interval) = config.get_keepalives_interval() {
        own.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        own.keepalives_retries(retries);
    }
    if let Some(timeout) = config.get_tcp_user_timeout() {
        own.tcp_user_timeout(*timeout);
    }
    if let Some(user) = config.get_user() {
        own.user(user);
    }
    if let Some(password) = config.get_password() {
        own.password(password);
    }
    if let Some(name) = config.get_dbname() {
        own.dbname(name);
    }
    if let Some(name) = config.get_application_name() {
        own.application_name(name);
    }
    if let Some(options) = config.get_options() {
        own.options(options);
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Vec<Endpoint> {
        endpoints(&url.parse().unwrap())
    }

    #[test]
    fn each_server_of_a_url_is_one_endpoint() {
        let tcp = |host: &str, port| Endpoint::Tcp { host: host.to_owned(), address: None, port };
        assert_eq!(of("postgres://u:p@a:1,b:2/d"), [tcp("a", 1), tcp("b", 2)]);
        assert_eq!(of("host=a,b user=u dbname=d"), [tcp("a", 5432), tcp("b", 5432)]);
        assert_eq!(
            of("host=/run/postgresql user=u dbname=d"),
            [Endpoint::Unix { directory: "/run/postgresql".into(), port: 5432 }]
        );
        let [Endpoint::Tcp { host, address, .. }] = &of("hostaddr=127.0.0.1 user=u")[..] else { panic!() };
        assert_eq!((host.as_str(), address.unwrap().to_string().as_str()), ("127.0.0.1", "127.0.0.1"));
    }

    #[test]
    fn what_a_url_says_besides_is_kept() {
        let url =
            "host=a,b user=u password=p dbname=d options='-c work_mem=1MB' target_session_attrs=read-write";
        let config: Config = url.parse().unwrap();
        let own = endpoints(&config)[1].config(&config, Duration::from_secs(3));
        assert_eq!(own.get_hosts(), [Host::Tcp("b".to_owned())]);
        assert_eq!((own.get_user(), own.get_password()), (Some("u"), Some(&b"p"[..])));
        assert_eq!((own.get_dbname(), own.get_options()), (Some("d"), Some("-c work_mem=1MB")));
        assert_eq!(own.get_target_session_attrs(), config.get_target_session_attrs());
    }

    #[test]
    fn another_machine_is_told_from_this_one() {
        for (url, expected) in [
            ("postgres://u@localhost,127.0.0.2/d", false),
            ("postgres://u@[::1]/d", false),
            ("host=/run/postgresql dbname=d", false),
            ("postgres://u@postgres-a/d", true),
            ("postgres://u@localhost,192.0.2.1/d", true),
            ("host=localhost hostaddr=192.0.2.1 dbname=d", true),
        ] {
            assert_eq!(of(url).iter().any(Endpoint::is_elsewhere), expected, "{url}");
        }
    }
}
