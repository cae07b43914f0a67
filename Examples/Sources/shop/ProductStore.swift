import Foundation
import GRDB
import ShopAPI
import Synchronization

/// The shop's database, and the count of reads of it.
///
/// The delay before each read stands for a database that is farther away than a local file, so that several callers
/// are really waiting for the same product at once.
final class ProductStore: Sendable {
    private let pool: DatabasePool
    private let queryDelay: Duration
    private let queries: Mutex<Queries>
    let productCount: Int

    private struct Queries {
        var total = 0
        /// Index is the product id. Products that were added later count in `total` only, which keeps this bounded.
        var byProduct: [Int]
    }

    /// Opens the database; creates it first, with all products, when there is none. Several processes may do so at once.
    static func open(path: String, productCount: Int, queryDelay: Duration) async throws -> ProductStore {
        try await FileLock.with(path: path + ".lock", timeout: .seconds(60)) {
            var configuration = Configuration()
            configuration.busyMode = .timeout(10)  // seconds; other processes write to the same file
            configuration.prepareDatabase { database in
                // In WAL mode a crash of the process loses nothing; of the machine, at most the last writes.
                try database.execute(sql: "PRAGMA synchronous = NORMAL")
            }
            let pool = try DatabasePool(path: path, configuration: configuration)
            let held = try await pool.write { database in
                try createIfNeeded(database, productCount: productCount)
                return try Int.fetchOne(database, sql: "SELECT value FROM settings WHERE name = 'productCount'") ?? productCount
            }
            return ProductStore(pool: pool, productCount: held, queryDelay: queryDelay)
        }
    }

    private init(pool: DatabasePool, productCount: Int, queryDelay: Duration) {
        self.pool = pool
        self.productCount = productCount
        self.queryDelay = queryDelay
        self.queries = Mutex(Queries(byProduct: Array(repeating: 0, count: productCount + 1)))
    }

    /// One transaction, so that a process that dies halfway leaves nothing behind.
    private static func createIfNeeded(_ database: Database, productCount: Int) throws {
        guard try !database.tableExists("settings") else { return }
        try database.execute(
            sql: """
                CREATE TABLE settings (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
                CREATE TABLE products (
                    id INTEGER PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL, description TEXT NOT NULL,
                    priceCents INTEGER NOT NULL, stock INTEGER NOT NULL);
                """)
        var generator = ProductGenerator(seed: 1)
        for id in 1...productCount {
            try upsert(generator.product(id: id), in: database)
        }
        try database.execute(sql: "INSERT INTO settings VALUES ('productCount', ?)", arguments: [productCount])
    }

    /// The product, or nil when there is none. Counts as one query, whatever comes of it.
    func product(_ id: Int) async throws -> Product? {
        queries.withLock {
            $0.total += 1
            if $0.byProduct.indices.contains(id) { $0.byProduct[id] += 1 }
        }
        if queryDelay > .zero { try await Task.sleep(for: queryDelay) }
        return try await pool.read { database in
            let statement = try database.cachedStatement(sql: "SELECT * FROM products WHERE id = ?")
            return try Row.fetchOne(statement, arguments: [id]).map { row in
                Product(
                    id: row["id"], name: row["name"], category: row["category"], description: row["description"],
                    priceCents: row["priceCents"], stock: row["stock"])
            }
        }
    }

    /// Writes a product, new or not.
    /// - Returns: Whether it is new.
    func save(_ product: Product) async throws -> Bool {
        try await pool.write { database in
            let known = try Bool.fetchOne(database, sql: "SELECT EXISTS (SELECT 1 FROM products WHERE id = ?)", arguments: [product.id])
            try Self.upsert(product, in: database)
            return known != true
        }
    }

    /// Deletes a product.
    /// - Returns: Whether there was one.
    func delete(_ id: Int) async throws -> Bool {
        try await pool.write { database in
            try database.execute(sql: "DELETE FROM products WHERE id = ?", arguments: [id])
            return database.changesCount > 0
        }
    }

    private static func upsert(_ product: Product, in database: Database) throws {
        let statement = try database.cachedStatement(sql: "INSERT OR REPLACE INTO products VALUES (?, ?, ?, ?, ?, ?)")
        try statement.execute(arguments: [
            product.id, product.name, product.category, product.description, product.priceCents, product.stock,
        ])
    }

    /// Whether the database answers. Not counted as a query.
    func isReachable() async -> Bool {
        (try? await pool.read { try Int.fetchOne($0, sql: "SELECT 1") }) == 1
    }

    /// Reads of products since the start.
    var queryCount: Int { queries.withLock { $0.total } }

    /// Reads by product, for those in `ids` that were read at all.
    func queryCounts(in ids: ClosedRange<Int>) -> [Int: Int] {
        queries.withLock { queries in
            var counts: [Int: Int] = [:]
            for id in ids.clamped(to: 0...(queries.byProduct.count - 1)) where queries.byProduct[id] > 0 {
                counts[id] = queries.byProduct[id]
            }
            return counts
        }
    }
}
