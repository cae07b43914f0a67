import PeerCache

struct User: Codable, Sendable {
    var id: Int
    var name: String
}

@main
struct QuickStart {
    static func main() async throws {
        var configuration = CachePeerConfiguration(cluster: "quick-start")
        configuration.bind = .init(host: "127.0.0.1", port: 0)  // 0: any free port; a service says which, such as 7600
        configuration.discovery = .none  // a service names its other instances: .dns("shop-cache.default.svc", port: 7600)
        configuration.security = nil  // only loopback may do without; a service has .sharedSecret("…")
        configuration.memory = .megabytes(64)
        let peer = try CachePeer(configuration: configuration)

        // Runs on the key's owner, once for the whole cluster, however many callers wait. Nil: there is no such user.
        let users = peer.cache("users", key: Int.self, value: User.self, options: .init(ttl: .seconds(300), copies: 2)) { id in
            print("loading user \(id)")
            return User(id: id, name: "User number \(id)")
        }

        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await peer.run() }  // a service puts the peer into its ServiceGroup instead
            group.addTask {
                while !peer.readiness.isReady { try await Task.sleep(for: .milliseconds(10)) }
                print("first get: ", try await users.get(42)?.name ?? "none")  // loads
                print("second get:", try await users.get(42)?.name ?? "none")  // does not
                print(try await users.explain(42))
            }
            try await group.next()  // whichever ends first: the second task, or the peer with an error
            group.cancelAll()  // stops the peer
        }
    }
}
