/// Host (name or IP address, without brackets) and TCP port.
package struct PeerAddress: Hashable, Comparable, Sendable, CustomStringConvertible {
    package var host: String
    package var port: UInt16

    package init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// `host:port`, an IPv6 host in brackets.
    package init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]), port > 0 else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("[") {
            guard host.hasSuffix("]") else { return nil }
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil  // an IPv6 address without brackets is ambiguous
        }
        guard !host.isEmpty, host.utf8.count <= 255, Self.isHost(host) else { return nil }
        self.init(host: String(host), port: port)
    }

    /// Whether it may be a name or an IP address: neither brackets nor white space, and a colon only in an IPv6 address, which has two.
    package static func isHost(_ text: some StringProtocol) -> Bool {
        !text.contains { $0.isWhitespace || $0 == "[" || $0 == "]" } && text.count { $0 == ":" } != 1
    }

    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    package static func < (left: PeerAddress, right: PeerAddress) -> Bool {
        left.host != right.host ? left.host < right.host : left.port < right.port
    }
}
