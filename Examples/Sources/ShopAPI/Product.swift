/// One product of the shop, as the database holds it, the cache keeps it and HTTP shows it.
public struct Product: Codable, Sendable, Equatable {
    /// 1...`Product.idMax`.
    public var id: Int
    /// 1...200 bytes.
    public var name: String
    /// Up to 200 bytes.
    public var category: String
    /// Up to 10,000 bytes.
    public var description: String
    /// Not negative.
    public var priceCents: Int
    /// Not negative.
    public var stock: Int

    /// Largest id the shop takes.
    public static let idMax = 1_000_000_000

    /// A product with these fields; nothing is checked.
    public init(id: Int, name: String, category: String, description: String, priceCents: Int, stock: Int) {
        self.id = id
        self.name = name
        self.category = category
        self.description = description
        self.priceCents = priceCents
        self.stock = stock
    }
}
