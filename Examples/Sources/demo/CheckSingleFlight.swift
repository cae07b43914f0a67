import NIOCore
import NIOHTTP1

/// (a) Many callers at once want a product that no cache holds: the database is asked once.
struct CheckSingleFlight: Check {
    let letter = "a"
    let name = "one database query for a cold product"
    private static let rounds = 5
    private static let callers = 200

    func run(_ stage: Stage) async throws -> CheckOutcome {
        let shops = stage.shops.all
        let ids = try stage.takeProducts(Self.rounds)
        // Connected before, so that the requests really arrive together.
        var connections: [HTTPConnection] = []
        defer { for connection in connections { connection.close() } }
        for caller in 0..<Self.callers {
            connections.append(try await .open(port: try await shops[caller % shops.count].httpPort()))
        }

        var answered = 0
        var durations: [Duration] = []
        for id in ids {
            let start = ContinuousClock.now
            answered += await Self.readAtOnce(id, over: connections)
            durations.append(ContinuousClock.now - start)
        }
        let queries = try await stage.queries(ids, by: shops)
        let most = ids.map { queries[$0] ?? 0 }.max() ?? 0
        let total = queries.values.reduce(0, +)
        let wanted = Self.rounds * Self.callers
        return CheckOutcome(
            passed: answered == wanted && total == Self.rounds && most == 1,
            detail: "\(Self.rounds) products, \(Self.callers) requests at once for each over \(shops.count) instances: "
                + "\(answered) of \(wanted) answered, \(total) database queries, at most \(most) for one product, "
                + "slowest \(decimal(durations.max()?.milliseconds ?? 0, 1)) ms",
            figures: [
                "requests": Double(wanted), "answered": Double(answered), "products": Double(Self.rounds),
                "databaseQueries": Double(total), "databaseQueriesPerProductMax": Double(most),
                "slowestRoundMilliseconds": durations.max()?.milliseconds ?? 0,
            ])
    }

    /// - Returns: How many of the requests were answered with the product.
    @concurrent private static func readAtOnce(_ id: Int, over connections: [HTTPConnection]) async -> Int {
        await withTaskGroup(of: Bool.self) { group in
            for connection in connections {
                group.addTask { (try? await connection.send(.GET, "/products/\(id)"))?.status == 200 }
            }
            return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
    }
}
