import NIOCore
import NIOHTTP1
import ShopAPI

/// (b) After an update through one instance was answered, the next answer of every other instance is the new product.
struct CheckUpdate: Check {
    let letter = "b"
    let name = "an update is what every other instance answers next"
    private static let updates = 30
    /// Reads through every instance before the update, so that near copies exist wherever they can.
    private static let readsBefore = 5
    private static let patience = Duration.seconds(5)

    /// The first answers of one other instance after an update.
    private struct Seen: Sendable {
        var firstIsNew: Bool
        /// From the answer to the update to the first answer that shows it; nil when none did in time.
        var delay: Duration?
    }

    func run(_ stage: Stage) async throws -> CheckOutcome {
        let shops = stage.shops.all
        let ids = Array(try stage.takeProducts(Self.updates))
        var seen: [Seen] = []
        for (index, id) in ids.enumerated() {
            seen += try await Self.update(id, through: shops[index % shops.count], shops: shops)
        }
        let stale = seen.filter { !$0.firstIsNew }.count
        let never = seen.filter { $0.delay == nil }.count
        let delays = seen.compactMap { $0.delay?.milliseconds }.sorted()
        let median = delays.isEmpty ? 0 : delays[delays.count / 2]
        return CheckOutcome(
            passed: stale == 0 && never == 0,
            detail: "\(Self.updates) updates, \(seen.count) next answers of other instances: \(stale) old, "
                + "new after \(decimal(median, 1)) ms in the median and \(decimal(delays.last ?? 0, 1)) ms at most"
                + (never > 0 ? "; \(never) not within \(Self.patience)" : ""),
            figures: [
                "updates": Double(Self.updates), "nextAnswers": Double(seen.count), "oldAnswers": Double(stale), "neverNew": Double(never),
                "newAfterMillisecondsMedian": median, "newAfterMillisecondsMax": delays.last ?? 0,
            ])
    }

    @concurrent private static func update(_ id: Int, through writer: ShopProcess, shops: [ShopProcess]) async throws -> [Seen] {
        for shop in shops {
            let client = ShopClient(shop)
            for _ in 0..<readsBefore { _ = try await client.product(id) }
        }
        let others = shops.filter { $0 !== writer }
        // Connected before the update, so that the next answer comes as early as possible.
        let connections = try await others.asyncMap { try await HTTPConnection.open(port: try await $0.httpPort()) }
        defer { for connection in connections { connection.close() } }

        let client = ShopClient(writer)
        var product = try await client.product(id)
        product.priceCents += 1
        product.stock = 1_000_000 + id
        try await client.update(product)
        let answered = ContinuousClock.now

        let wanted = "\"stock\":\(product.stock)"
        return try await withThrowingTaskGroup(of: Seen.self) { group in
            for connection in connections {
                group.addTask { try await poll(connection, id: id, for: wanted, since: answered) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
    }

    private static func poll(
        _ connection: HTTPConnection, id: Int, for wanted: String, since start: ContinuousClock.Instant
    ) async throws -> Seen {
        var isFirst = true
        while ContinuousClock.now - start < patience {
            let answer = try await connection.send(.GET, "/products/\(id)")
            guard answer.status == 200 else {
                throw UnexpectedAnswer(request: "GET /products/\(id)", status: answer.status, text: String(buffer: answer.body))
            }
            if String(buffer: answer.body).contains(wanted) {
                return Seen(firstIsNew: isFirst, delay: ContinuousClock.now - start)
            }
            isFirst = false
            try await Task.sleep(for: .milliseconds(1))
        }
        return Seen(firstIsNew: false, delay: nil)
    }
}

extension Sequence {
    /// `map` with a transformation that suspends; one element after the other.
    func asyncMap<Result>(_ transform: (Element) async throws -> Result) async rethrows -> [Result] {
        var results: [Result] = []
        for element in self { results.append(try await transform(element)) }
        return results
    }
}
