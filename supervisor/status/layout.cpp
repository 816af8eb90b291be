#include "supervisor/status/layout.h"

#include <algorithm>

#include "supervisor/base/check.h"
#include "supervisor/status/words.h"

namespace koi::status {

namespace {

constexpr std::size_t between_columns = 2;
constexpr std::size_t narrowest_last = 16;  // a last column with less room than this is not worth reading

std::string_view escape(Colour c) {
    switch (c) {
        case Colour::none: return "";
        case Colour::bold: return "\033[1m";
        case Colour::dim: return "\033[2m";
        case Colour::red: return "\033[31m";
        case Colour::yellow: return "\033[33m";
        case Colour::green: return "\033[32m";
    }
    return "";
}

std::string spaces(std::size_t n) { return std::string(n, ' '); }

std::size_t missing(std::string_view text, std::size_t wanted) {
    const std::size_t has = width(text);
    return has < wanted ? wanted - has : 0;
}

}  // namespace

Page::Page(std::size_t columns, bool colour) : columns_(std::max<std::size_t>(columns, 40)), colour_(colour) {}

std::string Page::paint(const Cell& cell) const {
    if (!colour_ || cell.colour == Colour::none || cell.text.empty()) return cell.text;
    return std::string(escape(cell.colour)) + cell.text + "\033[0m";
}

void Page::line(const Cell& cell, std::size_t indent, std::size_t hang) {
    std::string rest = clean(cell.text);
    for (std::size_t margin = indent; !rest.empty(); margin = indent + hang) {
        const std::string first = wrap(rest, columns_ - margin).front();
        out_ += spaces(margin) + paint({first, cell.colour}) + "\n";
        rest.erase(0, first.size());
        rest.erase(0, std::min(rest.find_first_not_of(' '), rest.size()));
    }
}

void Page::gap() {
    if (!out_.empty() && !out_.ends_with("\n\n")) out_ += "\n";
}

Table::Table(std::vector<std::string> titles, std::size_t indent) : titles_(std::move(titles)), indent_(indent) {
    KOI_CHECK(titles_.size() >= 2);
    for (auto& title : titles_) {
        figures_.push_back(title.ends_with('>'));
        if (figures_.back()) title.pop_back();
    }
}

void Table::row(std::vector<Cell> cells) {
    KOI_CHECK(cells.size() == titles_.size());
    for (auto& cell : cells) cell.text = clean(cell.text);
    rows_.push_back({std::move(cells), false, indent_});
}

void Table::between(const Cell& cell, std::size_t indent) { rows_.push_back({{cell}, true, indent}); }

// Every column as wide as its widest cell; the first one gives way as far as it must, the last one gets what is left.
std::vector<std::size_t> Table::widths(std::size_t columns, std::string_view heading) const {
    std::vector<std::size_t> widest;
    for (const auto& title : titles_) widest.push_back(width(title));
    for (const Row& row : rows_)
        for (std::size_t i = 0; !row.spans && i < row.cells.size(); ++i)
            widest[i] = std::max(widest[i], width(row.cells[i].text));

    std::size_t used = indent_ + between_columns * (titles_.size() - 1);
    for (std::size_t i = 1; i + 1 < widest.size(); ++i) used += widest[i];
    const std::size_t left = columns > used ? columns - used : 0;

    const std::size_t last = std::min(widest.back(), std::max(narrowest_last, left / 3));
    widest.front() = std::max(std::min(widest.front(), left > last ? left - last : 0),
                              width(heading) > indent_ ? width(heading) - indent_ : 0);
    widest.back() = std::max<std::size_t>(left > widest.front() ? left - widest.front() : 0, 1);
    return widest;
}

void Table::put(Page& page, std::string_view heading) const {
    const auto wide = widths(page.columns(), heading);
    std::string titles(heading);
    titles += spaces(missing(titles, indent_ + wide[0]));
    const bool only_lines = std::ranges::all_of(rows_, &Row::spans);  // then there is nothing for titles to name
    for (std::size_t i = 1; i < titles_.size() && !only_lines; ++i) {
        const bool is_last = i + 1 == titles_.size();
        const std::string pad = is_last ? "" : spaces(missing(titles_[i], wide[i]));
        titles += spaces(between_columns) + (figures_[i] ? pad + titles_[i] : titles_[i] + pad);
    }
    titles.erase(titles.find_last_not_of(' ') + 1);
    page.raw(page.paint({titles, Colour::bold}) + "\n");

    for (const Row& row : rows_) {
        if (row.spans)
            page.line(row.cells[0], row.indent);
        else
            put_row(page, row, wide);
    }
}

void Table::put_row(Page& page, const Row& row, const std::vector<std::size_t>& wide) const {
    std::string first = row.cells[0].text;
    if (width(first) > wide[0]) {  // does not fit: a line for itself
        page.line(row.cells[0], row.indent);
        first.clear();
    }
    std::string line =
        spaces(row.indent) + page.paint({first, row.cells[0].colour}) + spaces(missing(first, wide[0]));
    for (std::size_t i = 1; i + 1 < row.cells.size(); ++i) {
        const Cell& cell = row.cells[i];
        const std::string pad = spaces(missing(cell.text, wide[i]));
        line += spaces(between_columns) + (figures_[i] ? pad + page.paint(cell) : page.paint(cell) + pad);
    }
    const std::size_t at = width(line) + between_columns;
    const auto last = wrap(row.cells.back().text, wide.back());
    for (std::size_t i = 0; i < last.size(); ++i) {
        if (i > 0) line = spaces(at - between_columns);
        if (!last[i].empty()) line += spaces(between_columns) + page.paint({last[i], row.cells.back().colour});
        line.erase(line.find_last_not_of(' ') + 1);
        page.raw(line + "\n");
    }
}

}  // namespace koi::status
