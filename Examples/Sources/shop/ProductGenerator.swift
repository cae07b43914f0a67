import ShopAPI

/// Makes the shop's products from a seed: the same seed gives the same products, on every machine.
struct ProductGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    /// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
    private mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    private mutating func number(below bound: Int) -> Int {
        Int(next() % UInt64(bound))  // the bias of the remainder does not matter for sample data
    }

    private mutating func word(_ words: [String]) -> String {
        words[number(below: words.count)]
    }

    /// The product with this id. Ids must be asked for in ascending order from 1, because the generator moves on.
    mutating func product(id: Int) -> Product {
        let thing = word(Self.things)
        let material = word(Self.materials)
        let name = "\(word(Self.qualities)) \(material) \(thing.lowercased()) \(id)"
        let sentences = (0..<(2 + number(below: 4))).map { _ in
            "The \(thing.lowercased()) is \(word(Self.qualities).lowercased()), made of \(word(Self.materials).lowercased())"
                + " and suited for \(word(Self.uses))."
        }
        return Product(
            id: id, name: name, category: word(Self.categories), description: sentences.joined(separator: " "),
            priceCents: 99 + 10 * number(below: 50_000), stock: number(below: 500))
    }

    private static let qualities = [
        "Light", "Sturdy", "Quiet", "Compact", "Folding", "Plain", "Bright", "Warm", "Portable", "Classic", "Small", "Large",
    ]
    private static let materials = [
        "Oak", "Steel", "Linen", "Cork", "Copper", "Wool", "Glass", "Bamboo", "Leather", "Slate", "Cotton", "Walnut",
    ]
    private static let things = [
        "Lamp", "Chair", "Desk", "Kettle", "Shelf", "Blanket", "Clock", "Basket", "Mirror", "Bench", "Teapot", "Notebook", "Jacket",
    ]
    private static let categories = ["Kitchen", "Office", "Garden", "Living room", "Bedroom", "Travel", "Workshop"]
    private static let uses = ["small rooms", "long journeys", "daily use", "rainy days", "the workshop", "a large family", "the balcony"]
}
