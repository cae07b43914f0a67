import ArgumentParser
import Foundation

/// Puts what `Benchmarks/run` collected into its two files.
struct ResultsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report",
        abstract: "Reads the JSON lines of comparisons from standard input; writes tables in Markdown, and prints those of the new ones.",
        discussion: """
            Each comparison begins with a line {"comparison": NAME, "question": TEXT, "command": TEXT, "date": TEXT, "commit": TEXT, \
            "seconds": NUMBER}, then come those that its command printed. The file of results holds the same lines; comparisons that are in \
            it already are replaced, others stay.
            """)

    @Option(help: "File of JSON lines; made if it is missing.") var results: String
    @Option(help: "File of Markdown to write.") var markdown: String

    func run() throws {
        let input = String(decoding: try FileHandle.standardInput.readToEnd() ?? Data(), as: UTF8.self)
        let new = try ComparisonResult.read(input, from: "standard input")
        guard !new.isEmpty else { throw ValidationError("standard input has no comparison") }
        let old = (try? String(contentsOfFile: results, encoding: .utf8)) ?? ""
        var all = try ComparisonResult.read(old, from: results)
        for comparison in new {
            if let position = all.firstIndex(where: { $0.heading.comparison == comparison.heading.comparison }) {
                all[position] = comparison
            } else {
                all.append(comparison)
            }
        }
        let lines = all.flatMap(\.lines).joined(separator: "\n") + "\n"
        try lines.write(toFile: results, atomically: true, encoding: .utf8)
        let text = Self.introduction + all.map(\.markdown).joined(separator: "\n")
        try text.write(toFile: markdown, atomically: true, encoding: .utf8)
        print(new.map(\.markdown).joined(separator: "\n"))
    }

    private static let introduction = """
        # Results

        Written by `Benchmarks/run`; [README.md](README.md) says how to read them. Medians over rounds in which both sides took turns; ratio: \
        the median of ours / theirs of each round. The same as JSON lines: [results.json](results.json).


        """
}

extension String {
    fileprivate func write(toFile path: String, atomically: Bool, encoding: Encoding) throws {
        try write(to: URL(filePath: path), atomically: atomically, encoding: encoding)
    }
}
