package import NIOCore
package import PeerCacheCore

/// Why a call to a peer did not bring an answer.
package enum PeerCallError: Error, Hashable, Sendable {
    /// No answer before the deadline. The request may have been carried out.
    case timedOut
    /// The connection ended. The request may have been carried out.
    case closed
    /// A queue of this connection is full; nothing was sent.
    case overloaded
    /// The calling task was cancelled.
    case cancelled
    /// There is no connection to the peer; nothing was sent.
    case unreachable
}

/// An answer, in memory of its own.
package struct PeerResponse: Sendable {
    package var status: ResponseStatus
    package var value = ByteBuffer()
    package var ttlMilliseconds: UInt64?
    package var stamp = Stamp.zero
    package var placement: UInt64 = 0
    /// Number of the last invalidation before this answer; 0: no near copy may be kept.
    package var near: UInt64 = 0
    /// All writes of the answering peer up to this clock have a copy.
    package var copiedThrough: UInt64 = 0
    /// Of what is held, in caches that have versions of their source.
    package var sourceVersion: UInt64 = 0
    /// What few answers have, out of the way of those that are copied most.
    private var rare: Rare?

    /// For people; usually empty.
    package var message: String { rare?.message ?? "" }

    private final class Rare: Sendable {
        let message: String

        init(message: String) { self.message = message }
    }

    package init(status: ResponseStatus) { self.status = status }

    /// Copies what the wire's pointers lead to.
    init(_ wire: WireResponse) {
        status = wire.status
        if wire.value.count > 0 { value = ByteBuffer(bytes: wire.value) }
        ttlMilliseconds = wire.ttlMilliseconds
        stamp = wire.stamp
        placement = wire.placement
        near = wire.near
        copiedThrough = wire.copiedThrough
        sourceVersion = wire.sourceVersion
        if wire.message.count > 0 { rare = Rare(message: String(decoding: wire.message, as: UTF8.self)) }
    }

    /// The head of an answer whose value follows in chunks.
    func withoutContent() -> PeerResponse {
        var head = self
        (head.value, head.rare) = (ByteBuffer(), nil)
        return head
    }
}

/// Who waits for an answer.
enum PendingCall: Sendable {
    case task(UnsafeContinuation<Result<PeerResponse, PeerCallError>, Never>)
    case callback(@Sendable (Result<PeerResponse, PeerCallError>) -> Void)

    func resume(returning answer: Result<PeerResponse, PeerCallError>) {
        switch self {
        case .task(let continuation): continuation.resume(returning: answer)
        case .callback(let completion): completion(answer)
        }
    }
}
