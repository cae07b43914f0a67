import ArgumentParser
import Hummingbird
import Logging
import NIOCore
import PeerCache
import ServiceLifecycle
import ShopAPI
import UnixSignals

/// One instance of a small web shop: Hummingbird in front, SQLite behind, and PeerCache linked in between.
@main
struct ShopCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shop",
        abstract: "One instance of a web shop whose instances are each other's cache.",
        discussion: """
            Every option can be given as an environment variable instead, for example SHOP_PEER_PORT for --peer-port; the option wins.
            Prints 'listening http=HOST:PORT peer=HOST:PORT' when it answers. SIGTERM and SIGINT stop it gracefully.
            """)

    @OptionGroup var options: ShopOptions

    func run() async throws {
        let settings = try options.resolved()
        LoggingSystem.bootstrap(StreamLogHandler.standardError)
        var logger = Logger(label: "shop")
        logger.logLevel = settings.logLevel
        if settings.exitWithParent { ParentWatch.start() }

        let store = try await ProductStore.open(
            path: settings.database, productCount: settings.productCount, queryDelay: settings.queryDelay)
        let peer = try CachePeer(configuration: settings.peerConfiguration(logger: logger))
        let cache = peer.cache(
            ShopRoutes.cacheName, key: Int.self, value: Product.self, options: .init(ttl: .seconds(300), copies: 2)
        ) { id in
            try await store.product(id)
        }
        let routes = ShopRoutes(store: store, peer: peer, products: cache)
        let server = Application(
            router: routes.router(),
            configuration: .init(address: .hostname(settings.host, port: settings.port), serverName: "shop"),
            onServerRunning: { channel in
                let port = channel.localAddress?.port ?? settings.port
                StandardOutput.print("listening http=\(settings.host):\(port) peer=\(await peer.listeningAddress())")
            },
            logger: logger)

        // Stopped in reverse order: the server answers its last requests while the peer still works.
        var group = ServiceGroupConfiguration(
            services: [peer, server], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        group.maximumGracefulShutdownDuration = .seconds(20)
        try await ServiceGroup(configuration: group).run()
    }
}
