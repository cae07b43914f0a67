internal import CServiceRecords
package import NIOCore
internal import NIOPosix
package import PeerCacheCore

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#elseif canImport(Darwin)
internal import Darwin
#endif

/// A name that could not be resolved, with the system's reason.
package struct AddressResolutionError: Error, Sendable, CustomStringConvertible {
    package let host: String
    package let reason: String
    package var description: String { "cannot resolve \"\(host)\": \(reason)" }
}

/// Host names to IP addresses, on a thread that may block.
package enum AddressResolver {
    /// Every A and AAAA address of a name, without repetition, in the system's order. An IP address is its own answer.
    package static func addresses(of host: String, port: UInt16) async throws -> [PeerAddress] {
        if (try? SocketAddress(ipAddress: host, port: Int(port))) != nil { return [PeerAddress(host: host, port: port)] }
        return try await NIOThreadPool.singleton.runIfActive { try lookUp(host, port) }
    }

    /// Every address that the SRV records of a service name (RFC 2782), with their ports, without repetition. Priorities and weights say
    /// nothing here: members are all alike.
    /// - Parameter serverPort: of a name server on 127.0.0.1 to ask in place of the system's; 0: the system's.
    package static func services(of name: String, serverPort: UInt16 = 0) async throws -> [PeerAddress] {
        try await NIOThreadPool.singleton.runIfActive {
            var records = [peercache_service](repeating: peercache_service(), count: servicesMax)
            var reason: UnsafePointer<CChar>?
            let found = peercache_services(name, serverPort, &records, CInt(servicesMax), &reason)
            guard found >= 0 else {
                throw AddressResolutionError(host: name, reason: reason.map { String(cString: $0) } ?? "unknown")
            }
            var addresses: [PeerAddress] = []
            var failure: (any Error)?
            for record in records.prefix(min(Int(found), servicesMax)) {
                // One name that cannot be resolved does not hide the others: pods come and go.
                do { addresses += try lookUp(text(record), record.port) } catch { failure = error }
            }
            if addresses.isEmpty, let failure { throw failure }
            return addresses.enumerated().filter { addresses.firstIndex(of: $0.element) == $0.offset }.map(\.element)
        }
    }

    private static let servicesMax = 1024

    private static func text(_ record: peercache_service) -> String {
        withUnsafeBytes(of: record.target) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    private static func lookUp(_ host: String, _ port: UInt16) throws -> [PeerAddress] {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        #if canImport(Glibc)
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        #else
        hints.ai_socktype = CInt(SOCK_STREAM)
        #endif
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, nil, &hints, &list)
        guard code == 0 else { throw AddressResolutionError(host: host, reason: String(cString: gai_strerror(code))) }
        defer { freeaddrinfo(list) }
        var found: [PeerAddress] = []
        var next = list
        while let info = next {
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            if getnameinfo(info.pointee.ai_addr, info.pointee.ai_addrlen, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0 {
                let bytes = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
                let address = PeerAddress(host: String(decoding: bytes, as: UTF8.self), port: port)
                if !found.contains(address) { found.append(address) }
            }
            next = info.pointee.ai_next
        }
        return found
    }

    /// The local address the system would send from to reach `destination`. Nothing is sent: connecting a UDP socket only asks the routes.
    package static func localHost(towards destination: PeerAddress, group: any EventLoopGroup) async -> String? {
        guard let remote = try? SocketAddress(ipAddress: destination.host, port: Int(max(destination.port, 1))) else { return nil }
        guard let channel = try? await DatagramBootstrap(group: group).connect(to: remote).get() else { return nil }
        let host = channel.localAddress?.ipAddress
        try? await channel.close()
        return host
    }
}
