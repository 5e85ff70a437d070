package config

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

const day = 24 * time.Hour

// duration reads a length of time between the two bounds of its row, both
// included.
func (w *walk) duration(v value) time.Duration {
	least, most := v.is.least, v.is.most
	fix := fmt.Sprintf("write a time such as 90s, 30m, 24h or 7d, from %s to %s", spell(least), spell(most))
	s, ok := w.text(v, fix)
	if !ok {
		return 0
	}
	d, err := parseDuration(s)
	said := quote(s)
	if v.secret {
		said = "this"
	}
	switch {
	case err != nil:
		w.report(v, said+" is not a length of time", fix)
	case d < least:
		w.report(v, said+" is too short", fix)
	case d > most:
		w.report(v, said+" is too long", fix)
	}
	return d
}

// durationPattern matches every text that parseDuration takes for a length of
// time above zero, and some that it does not.
const durationPattern = `^\+?([0-9]{1,5}d\+?)?(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))*$`

var daysPattern = regexp.MustCompile(`^([0-9]{1,5})d(.*)$`)

// parseDuration reads what time.ParseDuration reads, with whole days in front.
func parseDuration(s string) (time.Duration, error) {
	m := daysPattern.FindStringSubmatch(s)
	if m == nil {
		return time.ParseDuration(s)
	}
	days, err := strconv.Atoi(m[1])
	if err != nil {
		return 0, err
	}
	var rest time.Duration
	if m[2] != "" {
		if rest, err = time.ParseDuration(m[2]); err != nil {
			return 0, err
		}
	}
	if rest < 0 || rest > day*365 {
		return 0, errors.New("more than days can be added to")
	}
	return time.Duration(days)*day + rest, nil
}

// spell writes a bound in its largest whole unit.
func spell(d time.Duration) string {
	for _, u := range []struct {
		size time.Duration
		name string
	}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d >= u.size && d%u.size == 0 {
			return strconv.FormatInt(int64(d/u.size), 10) + u.name
		}
	}
	return d.String()
}
