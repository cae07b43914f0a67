public import Hummingbird
import PeerCache
public import ShopAPI

extension Product: ResponseEncodable {}
extension ShopStatistics: ResponseEncodable {}
extension ShopQueries: ResponseEncodable {}
extension ShopExplanation: ResponseEncodable {}

/// The HTTP face of one instance. Reads go through the cache; writes go to the database first and to the cache then.
struct ShopRoutes: Sendable {
    static let cacheName = "products"
    static let idsPerRequestMax = 500

    let store: ProductStore
    let peer: CachePeer
    let products: Cache<Int, Product>

    func router() -> Router<ShopContext> {
        let router = Router(context: ShopContext.self)
        router.add(middleware: ErrorAnswers())
        router.get("/products/:id") { _, context in try await get(context) }
        router.get("/products") { request, _ in try await getMany(request) }
        router.put("/products/:id") { request, context in try await put(request, context) }
        router.delete("/products/:id") { _, context in try await delete(context) }
        router.get("/cache/:id") { _, context in try await explain(context) }
        router.get("/healthz") { _, _ in "alive\n" }
        router.get("/readyz") { _, _ in await ready() }
        router.get("/stats") { _, _ in peer.statistics(cache: Self.cacheName, store: store) }
        router.get("/stats/queries") { request, _ in try queries(request) }
        return router
    }

    private func get(_ context: ShopContext) async throws -> Product {
        let id = try productID(context)
        guard let product = try await products.get(id) else { throw HTTPError(.notFound, message: "There is no product \(id).") }
        return product
    }

    /// The known ones of the ids asked for, in the order asked for.
    private func getMany(_ request: Request) async throws -> [Product] {
        guard let text = request.uri.queryParameters["ids"], !text.isEmpty else {
            throw HTTPError(.badRequest, message: "Say which products: /products?ids=1,2,3.")
        }
        let ids = try text.split(separator: ",", omittingEmptySubsequences: false).map { try productID(String($0)) }
        guard ids.count <= Self.idsPerRequestMax else {
            throw HTTPError(.badRequest, message: "\(ids.count) ids are too many; at most \(Self.idsPerRequestMax) fit in one request.")
        }
        let found = try await products.getMany(ids)
        return ids.compactMap { found[$0] }
    }

    /// Two instances that write the same product at once may set the cache in the other order than the database;
    /// the entry's time to live bounds that. A shop that cannot accept it calls `remove` instead of `set`.
    private func put(_ request: Request, _ context: ShopContext) async throws -> EditedResponse<Product> {
        let id = try productID(context)
        let product = try await request.decode(as: ProductBody.self, context: context).product(id: id)
        let isNew = try await store.save(product)
        try await products.set(id, product)
        return EditedResponse(status: isNew ? .created : .ok, response: product)
    }

    private func delete(_ context: ShopContext) async throws -> HTTPResponse.Status {
        let id = try productID(context)
        let existed = try await store.delete(id)
        // Also when the database had none: the cache may still hold it.
        try await products.remove(id)
        guard existed else { throw HTTPError(.notFound, message: "There is no product \(id).") }
        return .noContent
    }

    private func explain(_ context: ShopContext) async throws -> ShopExplanation {
        try await products.explanation(of: productID(context), members: peer.snapshot().members)
    }

    private func ready() async -> EditedResponse<String> {
        guard peer.readiness.isReady else { return EditedResponse(status: .serviceUnavailable, response: "the cache peer is not ready\n") }
        guard await store.isReachable() else {
            return EditedResponse(status: .serviceUnavailable, response: "the database does not answer\n")
        }
        return EditedResponse(status: .ok, response: "ready\n")
    }

    private func queries(_ request: Request) throws -> ShopQueries {
        let first = try productID(request.uri.queryParameters["first"].map(String.init) ?? "1")
        let last = try productID(request.uri.queryParameters["last"].map(String.init) ?? "\(Product.idMax)")
        guard first <= last else { throw HTTPError(.badRequest, message: "first=\(first) is above last=\(last).") }
        return ShopQueries(byProduct: store.queryCounts(in: first...last))
    }

    private func productID(_ context: ShopContext) throws -> Int {
        try productID(context.parameters.require("id"))
    }

    private func productID(_ text: String) throws -> Int {
        guard let id = Int(text), (1...Product.idMax).contains(id) else {
            throw HTTPError(.badRequest, message: "'\(text.prefix(40))' is no product id; write a number from 1 to \(Product.idMax).")
        }
        return id
    }
}
