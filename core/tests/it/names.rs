//! The addresses that stand for names in the tunnel.

use std::collections::HashSet;
use std::sync::Arc;

use tidegate_core::policy::PortRange;
use tidegate_core::{Department, Endpoint, Network, PolicyState, Resource, Snapshot, TunnelNames};

use crate::world::{mk_department, mk_resource, mk_snapshot};

fn with_hosts(code: &str, resources: &[(&str, &[&str])]) -> Department {
    let mut own = mk_department(code, PolicyState::Absent);
    for (name, hosts) in resources {
        let hosts = hosts.iter().map(|host| (*host).into()).collect();
        let ports = vec![PortRange { from: 22, to: 22 }];
        let endpoint = Endpoint::Network(Network { hosts, ports });
        let resource = Resource { endpoint, ..mk_resource(name) };
        own.resources.insert(resource.name.clone(), Arc::new(resource));
    }
    own
}

fn snapshot(departments: Vec<Department>) -> Snapshot {
    mk_snapshot(PolicyState::Absent, departments)
}

#[test]
fn a_name_has_an_address_for_each_department_and_leads_back() {
    let names = TunnelNames::new(&snapshot(vec![
        with_hosts("sbj", &[("files", &["files.example", "10.20.3.5"]), ("backup", &["files.example"])]),
        with_hosts("ybj", &[("files", &["files.example"])]),
    ]));
    let hosts: Vec<_> = names.named("files.example").collect();
    let owners: Vec<_> = hosts.iter().map(|host| host.department.as_str()).collect();
    assert_eq!(owners, ["sbj", "ybj"]);
    let own: Vec<_> = hosts[0].resources.iter().map(ToString::to_string).collect();
    assert_eq!(own, ["sbj/backup", "sbj/files"]);
    for host in &hosts {
        let (four, six) = names.addresses(host).expect("it has a name");
        assert_eq!(four.octets()[..2], [198, 18]);
        for address in [four.into(), six.into()] {
            assert_eq!(names.at(address).collect::<Vec<_>>(), [*host]);
        }
    }
    assert_ne!(names.addresses(hosts[0]), names.addresses(hosts[1]));
    let real: Vec<_> = names.at("10.20.3.5".parse().unwrap()).collect();
    assert_eq!(real.len(), 1);
    assert_eq!(names.addresses(real[0]), None);
    for nowhere in ["10.20.3.6", "198.18.0.1", "198.18.0.2", "198.19.0.1", "fd7a:7467:7464:1::1", "::1"] {
        assert_eq!(names.at(nowhere.parse().unwrap()).count(), 0, "{nowhere}");
    }
    assert_eq!(names.named("other.example").count(), 0);
}

#[test]
fn systems_of_several_departments_at_one_address_are_all_found() {
    let names = TunnelNames::new(&snapshot(vec![
        with_hosts("sbj", &[("files", &["10.20.3.5"])]),
        with_hosts("ybj", &[("files", &["10.20.3.5"])]),
    ]));
    assert_eq!(names.at("10.20.3.5".parse().unwrap()).count(), 2);
    assert_eq!(names.at("::ffff:10.20.3.5".parse().unwrap()).count(), 2);
}

#[test]
fn addresses_are_the_same_everywhere_and_no_two_names_share_one() {
    let texts: Vec<String> = (0..30_000).map(|number| format!("host-{number}.example")).collect();
    let hosts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let make = || TunnelNames::new(&snapshot(vec![with_hosts("sbj", &[("all", &hosts)])]));
    let (one, other) = (make(), make());
    let mut seen = HashSet::new();
    for host in hosts {
        let own = one.named(host).next().expect("it is there");
        let addresses = one.addresses(own).expect("it has an address");
        assert_eq!(other.named(host).next().and_then(|host| other.addresses(host)), Some(addresses));
        assert!(seen.insert(addresses), "{host}");
    }
    // Written down once: another version gives the same.
    let first = one.named("host-0.example").next().and_then(|host| one.addresses(host)).expect("there");
    assert_eq!(first.1.segments()[7].to_be_bytes(), first.0.octets()[2..]);
}
