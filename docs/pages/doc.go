// Package pages owns how the documentation is read: README.md and everything
// below docs, with the fenced blocks in it, the commands of these, the output
// that they show, the headings and the links.
//
// It is for tests, which run what it finds. It starts no process itself: a Shell
// speaks to one that a test has started, on the machine that the block is for.
//
// # The blocks
//
// The words behind a block's three backquotes say what it is. The first is its
// language; the ones that are checked by running are
//
//	console [PLACE]     commands after "$ " (a listed user) or "# " (root), and what they print
//	yaml config [part]  a configuration of deploykeyd, or some of its keys
//	LANGUAGE file=PATH  an excerpt of that file of the repository
//
// All console blocks of a page that name the same place are one session, in the
// order of the page. A comment "<!-- before: COMMANDS -->" on the lines above a
// block has root's shell of its place run the commands first, unseen by readers.
//
// In the output shown, a line that is "…" alone stands for any lines, and "…" in
// a line for any text. Times, fingerprints, hashes, sizes and the like may be
// others (see Match).
package pages
