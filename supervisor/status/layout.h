// supervisor/status/layout.h
//
// Lines for a terminal. Pure. Nothing here writes a line wider than it was told to, colours not counted.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace koi::status {

enum class Colour { none, bold, dim, red, yellow, green };

// A few words in one colour. Painting happens last, so that padding counts what is seen.
struct Cell {
    Cell(std::string words, Colour in = Colour::none) : text(std::move(words)), colour(in) {}
    Cell(const char* words, Colour in = Colour::none) : text(words), colour(in) {}
    std::string text;
    Colour colour;
};

class Page {
public:
    // columns: 40 at least.
    Page(std::size_t columns, bool colour);

    // A line of its own, wrapped; what does not fit on the first line is indented by `hang` more columns.
    void line(const Cell&, std::size_t indent = 0, std::size_t hang = 2);
    void gap();  // an empty line, never two in a row and none at the top

    std::string paint(const Cell&) const;
    std::size_t columns() const { return columns_; }
    void raw(std::string_view already_laid_out) { out_ += already_laid_out; }
    const std::string& text() const { return out_; }

private:
    std::size_t columns_;
    bool colour_;
    std::string out_;
};

// Rows whose columns line up. The first column and the last are words, the ones between right-aligned figures if
// their title says so ("weight>"). A first cell that would push the row over the edge stands on a line of its own;
// the last one is wrapped inside its column.
class Table {
public:
    explicit Table(std::vector<std::string> titles, std::size_t indent = 2);

    void row(std::vector<Cell>);
    // A line between the rows that keeps to no column.
    void between(const Cell&, std::size_t indent);
    bool empty() const { return rows_.empty(); }
    // heading: stands where the first column's title would, so that a section costs no extra line.
    void put(Page&, std::string_view heading) const;

private:
    struct Row {
        std::vector<Cell> cells;
        bool spans = false;
        std::size_t indent = 0;
    };
    std::vector<std::size_t> widths(std::size_t columns, std::string_view heading) const;
    void put_row(Page&, const Row&, const std::vector<std::size_t>& widths) const;

    std::vector<std::string> titles_;
    std::vector<bool> figures_;
    std::vector<Row> rows_;
    std::size_t indent_;
};

}  // namespace koi::status
