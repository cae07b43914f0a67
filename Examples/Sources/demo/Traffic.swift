import NIOCore
import NIOHTTP1
import Synchronization

/// Reads products from all living shops at a fixed total rate, with a Zipf distribution over the products.
///
/// Every caller has one connection to one shop and one request at a time. A shop that is slow gets fewer requests than
/// planned, and its callers catch up to at most one second later.
final class Traffic: Sendable {
    private let zipf: Zipf
    private let seed: UInt64
    private let requestsPerSecond: Int
    private let callersPerShop: Int
    private let shopsDriven = Mutex(0)

    /// One request in so many asks for several products at once.
    private static let manyEvery = 20
    private static let manyCount = 10

    init(zipf: Zipf, seed: UInt64, requestsPerSecond: Int, callersPerShop: Int) {
        self.zipf = zipf
        self.seed = seed
        self.requestsPerSecond = requestsPerSecond
        self.callersPerShop = callersPerShop
    }

    /// Drives one shop from when it says it is ready until it is retired or the task is cancelled.
    @concurrent func drive(_ shop: ShopProcess) async {
        guard let port = try? await shop.httpPort() else { return }
        let client = ShopClient(shop)
        while await !client.isReady() {
            guard shop.takesTraffic, (try? await Task.sleep(for: .milliseconds(20))) != nil else { return }
        }
        shopsDriven.withLock { $0 += 1 }
        await withDiscardingTaskGroup { group in
            for caller in 0..<callersPerShop {
                group.addTask { await self.call(shop, port: port, caller: caller) }
            }
        }
        shopsDriven.withLock { $0 -= 1 }
    }

    /// Time between two requests of one caller: the total rate stays the same while shops come and go.
    private var pause: Duration {
        let callers = callersPerShop * max(1, shopsDriven.withLock { $0 })
        return .seconds(1) * callers / requestsPerSecond
    }

    private func call(_ shop: ShopProcess, port: Int, caller: Int) async {
        var generator = SeededGenerator(seed: seed &+ UInt64(port) &* 1_000 &+ UInt64(caller))
        var connection: HTTPConnection?
        defer { connection?.close() }
        // Callers start spread over one pause, not all at once.
        var due = ContinuousClock.now + pause * Double.random(in: 0..<1, using: &generator)
        var count = 0
        while shop.takesTraffic && !Task.isCancelled {
            do {
                try await Task.sleep(until: due)
                due = max(due + pause, ContinuousClock.now - .seconds(1))
                guard shop.takesTraffic else { return }
                let open: HTTPConnection
                if let connection, connection.isOpen {
                    open = connection
                } else {
                    do {
                        open = try await HTTPConnection.open(port: port)
                    } catch  where shop.isStopping {
                        return  // no request was lost: this is how a load balancer sees that the instance is gone
                    }
                    connection = open
                }
                count += 1
                let ids = (0..<(count % Self.manyEvery == 0 ? Self.manyCount : 1)).map { _ in zipf.next(using: &generator) }
                try await request(ids, on: open, recorder: shop.recorder)
            } catch is CancellationError {
                return
            } catch {
                shop.recorder.failure("\(shop.name): \(error)")
                connection?.close()
                connection = nil
                if shop.isStopping { return }
                try? await Task.sleep(for: .milliseconds(20))
            }
        }
    }

    /// One read; an answer is a success only when it shows the first product asked for.
    private func request(_ ids: [Int], on connection: HTTPConnection, recorder: Recorder) async throws {
        let path =
            ids.count == 1 ? "/products/\(ids[0])" : "/products?ids=" + ids.map { String($0) }.joined(separator: ",")
        let start = ContinuousClock.now
        let answer = try await connection.send(.GET, path)
        guard answer.status == 200, shows(ids[0], answer) else {
            throw UnexpectedAnswer(request: "GET \(path)", status: answer.status, text: String(buffer: answer.body))
        }
        recorder.success(after: ContinuousClock.now - start)
    }

    private func shows(_ id: Int, _ answer: HTTPAnswer) -> Bool {
        let bytes = answer.body.readableBytesView
        return bytes.contains(Array("\"id\":\(id),".utf8)) || bytes.contains(Array("\"id\":\(id)}".utf8))
    }
}
