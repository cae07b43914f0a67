import ArgumentParser
import Foundation

/// What one comparison printed, and how it was run.
struct ComparisonResult {
    struct Heading: Decodable {
        var comparison: String
        var question: String
        var command: String
        var date: String
        var commit: String
        var seconds: Double
    }

    /// Of ``Report``, or of ``GossipCommand``, which has bars instead of others.
    private struct Figure: Decodable {
        var metric: String
        var value: Double
        var unit: String
        var min, max: Double?
        var peer: String?
        var peerValue, peerMin, peerMax: Double?
        var ratio, ratioMin, ratioMax: Double?
        var bar: Double?
    }

    private struct MachineLine: Decodable {
        var machine: Machine
    }

    var heading: Heading
    /// As they were read, the heading's included.
    var lines: [String]
    private var machine: Machine?
    private var figures: [Figure] = []

    /// Comparisons in the order of the lines.
    static func read(_ text: String, from source: String) throws -> [ComparisonResult] {
        var all: [ComparisonResult] = []
        let decoder = JSONDecoder()
        for (number, line) in text.split(whereSeparator: \.isNewline).enumerated() {
            let data = Data(line.utf8)
            if let heading = try? decoder.decode(Heading.self, from: data) {
                all.append(ComparisonResult(heading: heading, lines: [String(line)]))
                continue
            }
            guard !all.isEmpty else { throw ValidationError("\(source): the first line begins no comparison") }
            all[all.count - 1].lines.append(String(line))
            if let machine = try? decoder.decode(MachineLine.self, from: data) {
                all[all.count - 1].machine = machine.machine
            } else if let figure = try? decoder.decode(Figure.self, from: data) {
                all[all.count - 1].figures.append(figure)
            } else {
                throw ValidationError("\(source), line \(number + 1): neither a heading, nor a machine, nor a figure")
            }
        }
        return all
    }

    /// A section with a table.
    var markdown: String {
        var text = "## \(heading.comparison)\n\n\(heading.question)\n\n"
        text += "`\(heading.command)`, \(heading.date), commit \(heading.commit), \(Int(heading.seconds.rounded())) s.\n"
        if let machine { text += "\(machine.description).\n" }
        return text + "\n" + Report.markdown(rows)
    }

    private var rows: [[String]] {
        [["metric", "median", "min–max", "unit", "other", "median", "min–max", "ratio", "min–max", "bar"]]
            + figures.map { figure in
                [
                    figure.metric, Report.text(figure.value), Report.spread(figure.min, figure.max), figure.unit, figure.peer ?? "",
                    figure.peerValue.map(Report.text) ?? "", Report.spread(figure.peerMin, figure.peerMax),
                    figure.ratio.map(Report.text) ?? "", Report.spread(figure.ratioMin, figure.ratioMax), figure.bar.map(Report.text) ?? "",
                ]
            }
    }
}
