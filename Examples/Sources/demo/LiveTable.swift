import Foundation
import NIOCore
import ShopAPI

/// Once a second: what every living shop did in that second.
struct LiveTable {
    private let shops: Shops
    private let screen: Screen
    private var clients: [String: ShopClient] = [:]
    private var previous: [String: ShopStatistics] = [:]

    init(shops: Shops, screen: Screen) {
        self.shops = shops
        self.screen = screen
    }

    private static let header =
        "instance   members   requests/s  failed    near %   own %  peer %  miss %   database/s    p50 ms    p99 ms"

    /// Ends when cancelled.
    mutating func run() async {
        var last = ContinuousClock.now
        while !Task.isCancelled {
            do { try await Task.sleep(until: last + .seconds(1)) } catch { return }
            let now = ContinuousClock.now
            let seconds = (now - last) / .seconds(1)
            last = now
            var lines: [String] = []
            for shop in shops.all { lines.append(await line(shop, seconds: seconds)) }
            if !lines.isEmpty { screen.show(header: Self.header, lines) }
        }
    }

    private mutating func line(_ shop: ShopProcess, seconds: Double) async -> String {
        let interval = shop.recorder.takeInterval()
        let client = clients[shop.name] ?? ShopClient(shop)
        clients[shop.name] = client
        guard shop.isListening, let statistics = try? await client.statistics(timeout: .milliseconds(900)) else {
            return column(shop.name, 10, left: true) + "  does not answer"
        }
        let before = previous.updateValue(statistics, forKey: shop.name)
        let cache = statistics.cache
        let old = before?.cache ?? ShopStatistics.Cache()
        let near = cache.nearHits - old.nearHits
        let own = cache.ownHits - old.ownHits
        let peer = cache.peerHits - old.peerHits
        let misses = cache.misses - old.misses
        let reads = Double(max(1, near + own + peer + misses))
        let queries = statistics.databaseQueries - (before?.databaseQueries ?? 0)
        return column(shop.name, 10, left: true) + column("\(statistics.memberCount)", 8)
            + column("\(Int((Double(interval.requests) / seconds).rounded()))", 13) + column("\(interval.failures)", 8)
            + column(percent(near, of: reads), 10) + column(percent(own, of: reads), 8) + column(percent(peer, of: reads), 8)
            + column(percent(misses, of: reads), 8) + column("\(Int((Double(queries) / seconds).rounded()))", 13)
            + column(decimal(interval.millisecondsP50, 2), 10) + column(decimal(interval.millisecondsP99, 2), 10)
    }

    private func percent(_ part: Int, of whole: Double) -> String {
        decimal(100 * Double(part) / whole, 1)
    }

    private func column(_ text: String, _ width: Int, left: Bool = false) -> String {
        let padding = String(repeating: " ", count: max(0, width - text.count))
        return left ? text + padding : padding + text
    }
}

/// A number with a fixed number of decimals.
func decimal(_ value: Double, _ decimals: Int) -> String {
    String(format: "%.\(decimals)f", value)
}

extension Duration {
    /// This duration as a number of milliseconds.
    var milliseconds: Double { self / .milliseconds(1) }
}
