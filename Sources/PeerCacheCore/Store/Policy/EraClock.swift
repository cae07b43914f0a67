/// Counts inserts in eras of a sixteenth of a turnover. An entry carries the era in which it was last put to the front of a list, so a hit
/// in the same era needs no move and writes nothing (`STORE.md` §7).
///
/// Inserts and not seconds: without inserts nothing moves, and where the list turns over faster than a fixed interval, an interval would
/// turn LRU into FIFO.
struct EraClock {
    private(set) var era: UInt8 = 0
    private var inserts = 0

    @inline(__always)
    mutating func inserted(entries: Int) {
        inserts &+= 1
        guard inserts >= max(1, entries / 16) else { return }
        inserts = 0
        era &+= 1
    }
}
