import Foundation
import Hummingbird
import Logging
import NIOCore
import ShopAPI

/// Hummingbird's context with a smaller limit for bodies (a product is a few hundred bytes) and JSON that people can compare.
struct ShopContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    var maxUploadSize: Int { 64 * 1024 }
    var responseEncoder: JSONEncoder {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return encoder
    }

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
    }
}

/// The body of `PUT /products/:id`: all fields; the id may be left out, because the path has it.
struct ProductBody: Decodable {
    var id: Int?
    var name: String
    var category: String
    var description: String
    var priceCents: Int
    var stock: Int

    func product(id: Int) throws -> Product {
        if let bodyID = self.id, bodyID != id {
            throw HTTPError(.badRequest, message: "The path says product \(id), the body says \(bodyID).")
        }
        guard (1...200).contains(name.utf8.count) else { throw HTTPError(.badRequest, message: "name must have 1 to 200 bytes.") }
        guard category.utf8.count <= 200 else { throw HTTPError(.badRequest, message: "category must have at most 200 bytes.") }
        guard description.utf8.count <= 10_000 else { throw HTTPError(.badRequest, message: "description must have at most 10000 bytes.") }
        guard priceCents >= 0 else { throw HTTPError(.badRequest, message: "priceCents is \(priceCents); it must not be negative.") }
        guard stock >= 0 else { throw HTTPError(.badRequest, message: "stock is \(stock); it must not be negative.") }
        return Product(
            id: id, name: name, category: category, description: description, priceCents: priceCents, stock: stock)
    }
}

/// Turns an error that no route expected into an answer that says what failed; without it, the body would be empty.
struct ErrorAnswers: RouterMiddleware {
    func handle(
        _ request: Request, context: ShopContext, next: @concurrent (Request, ShopContext) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let error as any HTTPResponseError {
            throw error
        } catch {
            context.logger.error("request failed", metadata: ["path": "\(request.uri.path)", "error": "\(error)"])
            throw HTTPError(.internalServerError, message: "\(error)")
        }
    }
}
