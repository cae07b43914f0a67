import Foundation
import PeerCache

/// What a test asks a member for, one line each, all at a time. Keys that begin with `fast` are of a cache with one acknowledgement, all
/// others of a strict one.
///
///     set KEY VALUE ID, remove KEY ID, get KEY ID, state ID
///
/// Answers: `ID ok [VALUE]`, `ID miss`, `ID indeterminate`, `ID failed CODE`, and `ID ok MEMBERS SILENT REASONS` for the state: members
/// that hold slots, slots of strict caches without this peer's vote, and what stands against its readiness.
struct Commands: Sendable {
    private let peer: CachePeer
    private let strict: Cache<String, String>
    private let fast: Cache<String, String>

    init(_ peer: CachePeer) {
        self.peer = peer
        strict = peer.cache("strict", key: String.self, value: String.self, options: CacheOptions(copies: 3, readFrom: 2, ackedBy: 2))
        fast = peer.cache("fast", key: String.self, value: String.self, options: CacheOptions(copies: 3, nearFor: .zero))
    }

    func start(_ line: String) {
        let words = line.split(separator: " ").map(String.init)
        guard let id = words.last else { return }
        Task {
            let answer = await answer(words)
            // One write of a short line: lines of different tasks do not mix.
            try? FileHandle.standardOutput.write(contentsOf: Data("\(id) \(answer)\n".utf8))
        }
    }

    private func answer(_ words: [String]) async -> String {
        do {
            switch (words[0], words.count) {
            case ("set", 4): try await cache(words[1]).set(words[1], words[2])
            case ("remove", 3): try await cache(words[1]).remove(words[1])
            case ("get", 3): return try await cache(words[1]).get(words[1]).map { "ok \($0)" } ?? "miss"
            case ("state", 2):
                let snapshot = peer.snapshot()
                return "ok \(snapshot.memberCount) \(snapshot.slotsSilent) \(peer.readiness.reasons.joined(separator: "; "))"
            default: return "failed unknownCommand"
            }
            return "ok"
        } catch let error as PeerCacheError {
            return error.code == .indeterminate ? "indeterminate" : "failed \(error.code)"
        } catch { return "failed \(type(of: error))" }
    }

    private func cache(_ key: String) -> Cache<String, String> { key.hasPrefix("fast") ? fast : strict }
}
