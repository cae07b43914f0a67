import ArgumentParser
import PeerCache
import Synchronization

/// Peeks at values of one type. One conformance per type, so that the calls of `peek` are those of an application that knows its types.
protocol NearRun: AnyObject, Sendable {
    var name: String { get }
    func peek(work thread: Int) -> (operations: Int, misses: Int)
    /// All was answered by near copies.
    func check() throws
    func stop() async
}

final class PlainRun: NearRun {
    let name = "plain"
    private let peer: NearPeer<PlainValue>
    private let operations = Atomic<UInt64>(0)

    init(_ peer: NearPeer<PlainValue>) { self.peer = peer }

    func peek(work thread: Int) -> (operations: Int, misses: Int) {
        let cache = peer.cache, keys = peer.keys[thread].all
        return peer.workload.threads[thread].next { numbers in
            var misses = 0
            for number in numbers where cache.peek(keys[Int(number)])?.number != number { misses &+= 1 }
            operations.add(UInt64(numbers.count), ordering: .relaxed)
            return (numbers.count, misses)
        }
    }

    func check() throws { try checkNearHits(peer.nearHits, operations.load(ordering: .relaxed)) }
    func stop() async { await peer.stop() }
}

final class ObjectRun: NearRun {
    let name = "object"
    private let peer: NearPeer<ObjectValue>
    private let operations = Atomic<UInt64>(0)

    init(_ peer: NearPeer<ObjectValue>) { self.peer = peer }

    func peek(work thread: Int) -> (operations: Int, misses: Int) {
        let cache = peer.cache, keys = peer.keys[thread].all
        return peer.workload.threads[thread].next { numbers in
            var misses = 0
            for number in numbers where cache.peek(keys[Int(number)])?.value.number != number { misses &+= 1 }
            operations.add(UInt64(numbers.count), ordering: .relaxed)
            return (numbers.count, misses)
        }
    }

    func check() throws { try checkNearHits(peer.nearHits, operations.load(ordering: .relaxed)) }
    func stop() async { await peer.stop() }
}

private func checkNearHits(_ hits: UInt64, _ operations: UInt64) throws {
    guard hits == operations else { throw ValidationError("of \(operations) peeks near copies answered \(hits)") }
}
