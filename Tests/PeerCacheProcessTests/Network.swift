import Foundation

/// Hosts of their own for processes: network namespaces on one bridge, whose links can be cut, made lossy and divided. Needs root, `ip` and
/// `nft`.
final class Network {
    /// What is missing to make one; nil: nothing.
    static var obstacle: String? {
        if getuid() != 0 { return "not root" }
        if !run("ip", "netns", "list") { return "no program ip" }
        if !run("nft", "list", "ruleset") { return "no program nft" }
        let name = "pcx\(getpid())"
        defer { run("ip", "netns", "del", name) }
        return run("ip", "netns", "add", name) ? nil : "network namespaces are not permitted"
    }

    let count: Int
    private let mark = String(getpid() % 100_000)
    private var bridge: String { "pcb\(mark)" }
    private var table: String { "pct\(mark)" }

    struct Failure: Error { let command: String }

    init(hosts count: Int) throws {
        self.count = count
        try must("ip", "link", "add", bridge, "type", "bridge")
        try must("ip", "link", "set", bridge, "up")
        for host in 0..<count {
            try must("ip", "netns", "add", namespace(host))
            try must("ip", "link", "add", link(host), "type", "veth", "peer", "name", "eth0", "netns", namespace(host))
            try must("ip", "link", "set", link(host), "master", bridge, "up")
            try must("ip", "-n", namespace(host), "link", "set", "lo", "up")
            try must("ip", "-n", namespace(host), "address", "add", "\(address(host))/24", "dev", "eth0")
            try must("ip", "-n", namespace(host), "link", "set", "eth0", "up")
        }
    }

    deinit { remove() }

    func remove() {
        heal()
        for host in 0..<count {
            Self.run("ip", "link", "del", link(host))  // a namespace may live on while a process in it ends
            Self.run("ip", "netns", "del", namespace(host))
        }
        Self.run("ip", "link", "del", bridge)
    }

    func namespace(_ host: Int) -> String { "pc\(mark)n\(host)" }
    func address(_ host: Int) -> String { "10.77.0.\(host + 1)" }
    private func link(_ host: Int) -> String { "pc\(mark)v\(host)" }

    // MARK: Faults

    /// The host vanishes without a word, or is back.
    func setLink(_ host: Int, up isUp: Bool) throws { try must("ip", "link", "set", link(host), isUp ? "up" : "down") }

    /// So many of 100 packets are lost on every link.
    func lose(percent: Int) throws { try rules(["numgen random mod 100 < \(percent) drop"]) }

    /// What one sends to the other is lost; the way back works.
    func cut(from one: Int, to other: Int) throws { try rules(["iifname \(link(one)) oifname \(link(other)) drop"]) }

    /// The first hosts and the others cannot talk.
    func split(first size: Int) throws {
        try rules(
            (0..<size).flatMap { one in
                (size..<count).flatMap { other in
                    [
                        "iifname \(link(one)) oifname \(link(other)) drop", "iifname \(link(other)) oifname \(link(one)) drop",
                    ]
                }
            })
    }

    func heal() { Self.run("nft", "delete", "table", "bridge", table) }

    private func rules(_ rules: [String]) throws {
        heal()
        try must("nft", "add", "table", "bridge", table)
        try must("nft", "add", "chain", "bridge", table, "forwarding", "{ type filter hook forward priority 0; }")
        for rule in rules { try must("nft", "add", "rule", "bridge", table, "forwarding", rule) }
    }

    // MARK: Commands

    private func must(_ command: String...) throws {
        if !Self.run(command) { throw Failure(command: command.joined(separator: " ")) }
    }

    @discardableResult private static func run(_ command: String...) -> Bool { run(command) }

    private static func run(_ command: [String]) -> Bool {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = command
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }
}
