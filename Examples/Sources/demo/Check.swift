import ShopAPI
import Synchronization

/// One thing the demo shows, with figures.
protocol Check: Sendable {
    var letter: String { get }
    var name: String { get }
    /// Does it, while traffic goes on. An error fails the check.
    func run(_ stage: Stage) async throws -> CheckOutcome
}

/// What came out of a check.
struct CheckOutcome: Sendable {
    var passed: Bool
    var detail: String
    var figures: [String: Double]
}

/// A check could not do what it needs to.
struct CheckImpossible: Error, CustomStringConvertible {
    var description: String
}

/// Where checks happen: the shops, and products that the traffic does not touch.
final class Stage: Sendable {
    let shops: Shops
    private let freeProducts: Mutex<ClosedRange<Int>>

    init(shops: Shops, freeProducts: ClosedRange<Int>) {
        self.shops = shops
        self.freeProducts = Mutex(freeProducts)
    }

    /// Products that nobody has asked for yet.
    func takeProducts(_ count: Int) throws -> ClosedRange<Int> {
        try freeProducts.withLock { free in
            guard free.count > count else { throw CheckImpossible(description: "only \(free.count) products are left for checks") }
            let taken = free.lowerBound...(free.lowerBound + count - 1)
            free = (taken.upperBound + 1)...free.upperBound
            return taken
        }
    }

    /// Reads products, each once and from the next shop in turn, several at a time.
    /// - Returns: What went wrong, at most one line per product; empty when every read showed its product.
    @concurrent func read(_ ids: [Int], from shops: [ShopProcess], concurrency: Int = 16) async -> [String] {
        await withTaskGroup(of: [String].self) { group in
            for worker in 0..<concurrency {
                group.addTask {
                    let clients = shops.map { ShopClient($0) }
                    var problems: [String] = []
                    for index in stride(from: worker, to: ids.count, by: concurrency) {
                        let client = clients[(worker + index / concurrency) % clients.count]
                        do {
                            let product = try await client.product(ids[index])
                            if product.id != ids[index] { problems.append("\(client.shop.name) showed \(product.id) for \(ids[index])") }
                        } catch {
                            problems.append("\(client.shop.name): \(error)")
                        }
                    }
                    return problems
                }
            }
            return await group.reduce(into: []) { $0 += $1 }
        }
    }

    /// How often each product was read from the database, by these shops together.
    func queries(_ ids: ClosedRange<Int>, by shops: [ShopProcess]) async throws -> [Int: Int] {
        var counts: [Int: Int] = [:]
        for shop in shops {
            counts.merge(try await ShopClient(shop).queries(ids)) { $0 + $1 }
        }
        return counts
    }

    /// The products among `ids` that `shop` owns, as another shop explains it.
    @concurrent func owned(
        by shop: ShopProcess, of ids: ClosedRange<Int>, asking other: ShopProcess, concurrency: Int = 16
    ) async throws -> [Int] {
        let owned = try await withThrowingTaskGroup(of: [Int].self) { group in
            for worker in 0..<concurrency {
                group.addTask {
                    let client = ShopClient(other)
                    var owned: [Int] = []
                    for id in stride(from: ids.lowerBound + worker, through: ids.upperBound, by: concurrency)
                    where try await client.explanation(id).owner == shop.peer {
                        owned.append(id)
                    }
                    return owned
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        guard !owned.isEmpty else { throw CheckImpossible(description: "\(shop.name) (\(shop.peer)) owns none of \(ids.count) products") }
        return owned
    }
}

/// Failed requests of some shops since a moment.
struct FailureWatch {
    private let shops: [ShopProcess]
    private let before: [Int]

    init(_ shops: [ShopProcess]) {
        self.shops = shops
        before = shops.map(\.recorder.totals.failures)
    }

    var count: Int { zip(shops, before).reduce(0) { $0 + $1.0.recorder.totals.failures - $1.1 } }

    /// The first reasons, for the message; empty when nothing failed.
    var reasons: String {
        guard count > 0 else { return "" }
        return " (\(shops.flatMap(\.recorder.totals.reasons).suffix(3).joined(separator: "; ")))"
    }
}
