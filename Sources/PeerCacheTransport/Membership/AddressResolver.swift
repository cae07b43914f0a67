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
    /// Not a failure of the name servers: they say that there is no such name, or nothing under it.
    package let isNameUnknown: Bool
    package var description: String { "cannot resolve \"\(host)\": \(reason)" }

    /// The addresses of the other names.
    package var found: [PeerAddress] = []

    package init(host: String, reason: String, isNameUnknown: Bool) {
        (self.host, self.reason, self.isNameUnknown) = (host, reason, isNameUnknown)
    }

    fileprivate static func noAnswer(_ host: String) -> AddressResolutionError {
        AddressResolutionError(host: host, reason: "no answer in time", isNameUnknown: false)
    }
}

/// Host names to IP addresses. The system's functions block, and some names take them half a minute: names are asked side by side, on threads
/// of their own, and what has no answer in time is left out.
package enum AddressResolver {
    package typealias LookUp = @Sendable (_ host: String, _ port: UInt16) throws -> [PeerAddress]

    /// Time for one answer: the service's records and all their names.
    package static let answerMax = Duration.seconds(5)
    private static let servicesMax = 1024
    /// Names under way at a time. So many slow ones hold up the others.
    private static let threads = {
        let threads = NIOThreadPool(numberOfThreads: 8)
        threads.start()
        return threads
    }()

    /// Every A and AAAA address of a name, without repetition, in the system's order. An IP address is its own answer.
    package static func addresses(of host: String, port: UInt16) async throws -> [PeerAddress] {
        try await addresses(of: [PeerAddress(host: host, port: port)])
    }

    /// The addresses of all hosts, in their order, without repetition. A host that does not exist does not hide the others: pods come and go.
    /// Throws when there is no other, and when it is not known of a host whether it exists, with what was found.
    package static func addresses(
        of hosts: [PeerAddress], until deadline: ContinuousClock.Instant = .now + answerMax, lookUp: @escaping LookUp = systemLookUp
    ) async throws -> [PeerAddress] {
        let answers = await sideBySide(hosts, until: deadline) { try lookUp($0.host, $0.port) }
        var addresses: [PeerAddress] = [], known: Set<PeerAddress> = []
        for case .success(let found)? in answers { addresses += found.filter { known.insert($0).inserted } }
        let errors = zip(hosts, answers).compactMap { host, answer -> AddressResolutionError? in
            switch answer {
            case .success: nil
            case .failure(let error as AddressResolutionError): error
            case .failure(let error): AddressResolutionError(host: host.host, reason: "\(error)", isNameUnknown: false)
            case nil: .noAnswer(host.host)
            }
        }
        guard var error = errors.first(where: { !$0.isNameUnknown }) ?? (addresses.isEmpty ? errors.first : nil) else { return addresses }
        error.found = addresses
        throw error
    }

    /// Every address that the SRV records of a service name (RFC 2782), with their ports, without repetition. Priorities and weights say
    /// nothing here: members are all alike.
    /// - Parameter serverPort: of a name server on 127.0.0.1 to ask in place of the system's; 0: the system's.
    package static func services(
        of name: String, serverPort: UInt16 = 0, within limit: Duration = answerMax, lookUp: @escaping LookUp = systemLookUp
    ) async throws -> [PeerAddress] {
        let deadline = ContinuousClock.now + limit
        let answers = await sideBySide([name], until: deadline) { try records(of: $0, serverPort) }
        guard let targets = try answers.first??.get() else { throw AddressResolutionError.noAnswer(name) }
        return try await addresses(of: targets, until: deadline, lookUp: lookUp)
    }

    /// Work that blocks, for every input. In the order of the inputs; nil for what was not done by the deadline.
    private static func sideBySide<Input: Sendable, Output: Sendable>(
        _ inputs: [Input], until deadline: ContinuousClock.Instant, _ work: @escaping @Sendable (Input) throws -> Output
    ) async -> [Result<Output, any Error>?] {
        var answers = [Result<Output, any Error>?](repeating: nil, count: inputs.count)
        if inputs.isEmpty { return answers }
        let (stream, continuation) = AsyncStream.makeStream(of: (Int, Result<Output, any Error>).self)
        for (index, input) in inputs.enumerated() {
            threads.submit { _ in
                // Nobody waits any more: the threads are for those who do.
                if ContinuousClock.now < deadline { continuation.yield((index, Result { try work(input) })) }
            }
        }
        let timer = Task {
            try? await Task.sleep(until: deadline)
            continuation.finish()
        }
        defer { timer.cancel() }
        var missing = inputs.count
        for await (index, answer) in stream {
            answers[index] = answer
            missing -= 1
            if missing == 0 { break }
        }
        return answers
    }

    private static func records(of name: String, _ serverPort: UInt16) throws -> [PeerAddress] {
        var records = [peercache_service](repeating: peercache_service(), count: servicesMax)
        var reason: UnsafePointer<CChar>?
        let found = peercache_services(name, serverPort, &records, CInt(servicesMax), &reason)
        guard found >= 0 else {
            throw AddressResolutionError(host: name, reason: reason.map { String(cString: $0) } ?? "unknown", isNameUnknown: found == -2)
        }
        return records.prefix(min(Int(found), servicesMax)).map { PeerAddress(host: text($0), port: $0.port) }
    }

    private static func text(_ record: peercache_service) -> String {
        withUnsafeBytes(of: record.target) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    package static let systemLookUp: LookUp = { host, port in
        if (try? SocketAddress(ipAddress: host, port: Int(port))) != nil { return [PeerAddress(host: host, port: port)] }
        return try resolve(host, port)
    }

    #if canImport(Glibc)
    /// No such name; no address under it, which Glibc has as an extension.
    private static let unknownNames: [CInt] = [EAI_NONAME, -5]
    #else
    private static let unknownNames: [CInt] = [EAI_NONAME]
    #endif

    private static func resolve(_ host: String, _ port: UInt16) throws -> [PeerAddress] {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        #if canImport(Glibc)
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        #else
        hints.ai_socktype = CInt(SOCK_STREAM)
        #endif
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, nil, &hints, &list)
        guard code == 0 else {
            throw AddressResolutionError(
                host: host, reason: String(cString: gai_strerror(code)), isNameUnknown: unknownNames.contains(code))
        }
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
