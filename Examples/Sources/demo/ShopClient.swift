import Foundation
import NIOCore
import NIOFoundationCompat
import NIOHTTP1
import ShopAPI

/// An answer that the demo did not expect.
struct UnexpectedAnswer: Error, CustomStringConvertible {
    var request: String
    var status: Int
    var text: String
    var description: String { "\(request) was answered with \(status): \(text.prefix(200))" }
}

/// Asks one shop, over one connection that is opened when needed. For one task at a time.
final class ShopClient {
    let shop: ShopProcess
    private var connection: HTTPConnection?

    init(_ shop: ShopProcess) {
        self.shop = shop
    }

    deinit {
        connection?.close()
    }

    func product(_ id: Int) async throws -> Product {
        try await answer(.GET, "/products/\(id)", as: Product.self)
    }

    func update(_ product: Product) async throws {
        let body = ByteBuffer(data: try JSONEncoder().encode(product))
        _ = try await answer(.PUT, "/products/\(product.id)", body: body, as: Product.self)
    }

    func statistics(timeout: TimeAmount = .seconds(2)) async throws -> ShopStatistics {
        try await answer(.GET, "/stats", timeout: timeout, as: ShopStatistics.self)
    }

    func explanation(_ id: Int) async throws -> ShopExplanation {
        try await answer(.GET, "/cache/\(id)", as: ShopExplanation.self)
    }

    /// How often this shop read each of these products from the database.
    func queries(_ ids: ClosedRange<Int>) async throws -> [Int: Int] {
        try await answer(.GET, "/stats/queries?first=\(ids.lowerBound)&last=\(ids.upperBound)", as: ShopQueries.self).byProduct
    }

    /// Whether the shop says it may get traffic.
    func isReady() async -> Bool {
        (try? await send(.GET, "/readyz", timeout: .seconds(1)))?.status == 200
    }

    private func answer<Value: Decodable>(
        _ method: HTTPMethod, _ path: String, body: ByteBuffer? = nil, timeout: TimeAmount = .seconds(5), as type: Value.Type
    ) async throws -> Value {
        let answer = try await send(method, path, body: body, timeout: timeout)
        guard answer.status == 200 else {
            throw UnexpectedAnswer(
                request: "\(shop.name): \(method) \(path)", status: answer.status, text: String(buffer: answer.body))
        }
        return try JSONDecoder().decode(type, from: answer.body)
    }

    private func send(
        _ method: HTTPMethod, _ path: String, body: ByteBuffer? = nil, timeout: TimeAmount
    ) async throws -> HTTPAnswer {
        let connection = try await opened()
        return try await connection.send(method, path, body: body, timeout: timeout)
    }

    private func opened() async throws -> HTTPConnection {
        if let connection, connection.isOpen { return connection }
        let fresh = try await HTTPConnection.open(port: try await shop.httpPort())
        connection = fresh
        return fresh
    }
}
