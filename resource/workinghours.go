package resource

import (
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// WorkingHours are the hours of the week in which a standing grant lets somebody in. From is before To, or the hours go over midnight and
// belong to the day on which they begin.
type WorkingHours struct {
	Days     []string `json:"days" doc:"of Mon, Tue, Wed, Thu, Fri, Sat, Sun" example:"[\"Mon\",\"Tue\"]"`
	From     string   `json:"from" doc:"HH:MM" example:"08:00"`
	To       string   `json:"to" doc:"HH:MM; 24:00 is the end of the day" example:"17:30"`
	TimeZone string   `json:"timeZone" doc:"of the IANA database" example:"Europe/Berlin"`
}

const (
	minutesOfDay = 24 * 60
	daysAhead    = 8 // within which the next hours begin
)

func weekdays() []string { return []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"} }

// Validate checks days, times and the time zone, which must be known to this program.
func (w WorkingHours) Validate() error {
	op := "resource.WorkingHours.Validate"
	if len(w.Days) == 0 || len(w.Days) > 7 {
		return fault.Newf(op, fault.Invalid, "the working hours have %d days", len(w.Days)).Advise("give days such as Mon, Tue, Wed")
	}
	for i, d := range w.Days {
		if !slices.Contains(weekdays(), d) || slices.Contains(w.Days[:i], d) {
			return fault.Newf(op, fault.Invalid, "%q is no day, or stands there twice", d).Advise("days are Mon, Tue, Wed, Thu, Fri, Sat, Sun")
		}
	}
	from, ok1 := minuteOf(w.From)
	to, ok2 := minuteOf(w.To)
	if !ok1 || !ok2 || from == to || from == minutesOfDay {
		return fault.Newf(op, fault.Invalid, "the working hours are from %q to %q", w.From, w.To).Advise("write them as 08:00 and 17:30")
	}
	if _, err := w.location(); err != nil {
		return fault.Newf(op, fault.Invalid, "the time zone is %q", w.TimeZone).Because(err).Advise("write one of the IANA database, such as Europe/Berlin or UTC")
	}
	return nil
}

func (w WorkingHours) location() (*time.Location, error) {
	if w.TimeZone == "" || strings.EqualFold(w.TimeZone, "local") {
		return nil, fault.New("resource.WorkingHours", fault.Invalid, "the time zone is missing")
	}
	return time.LoadLocation(w.TimeZone)
}

// minuteOf reads HH:MM.
func minuteOf(s string) (int, bool) {
	if len(s) != 5 || s[2] != ':' {
		return 0, false
	}
	for _, i := range []int{0, 1, 3, 4} {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	h, m := int(s[0]-'0')*10+int(s[1]-'0'), int(s[3]-'0')*10+int(s[4]-'0')
	n := h*60 + m
	return n, m < 60 && n <= minutesOfDay
}

// At returns the hours that hold at a moment, or else the next ones; ok is false when the time zone is not known here. Times of a clock
// that is put forward or back count as the clock on the wall shows them.
func (w WorkingHours) At(t time.Time) (from, to time.Time, ok bool) {
	loc, err := w.location()
	begin, ok1 := minuteOf(w.From)
	end, ok2 := minuteOf(w.To)
	if err != nil || !ok1 || !ok2 {
		return from, to, false
	}
	local := t.In(loc)
	if end <= begin {
		end += minutesOfDay
	}
	for ahead := -1; ahead <= daysAhead; ahead++ {
		day := time.Date(local.Year(), local.Month(), local.Day()+ahead, 0, 0, 0, 0, loc)
		if !slices.Contains(w.Days, weekdays()[day.Weekday()]) {
			continue
		}
		from = time.Date(day.Year(), day.Month(), day.Day(), 0, begin, 0, 0, loc)
		to = time.Date(day.Year(), day.Month(), day.Day(), 0, end, 0, 0, loc)
		if to.After(t) {
			return from, to, true
		}
	}
	return time.Time{}, time.Time{}, false
}

// Hold tells whether the hours hold at a moment, and until when.
func (w WorkingHours) Hold(t time.Time) (until time.Time, ok bool) {
	from, to, ok := w.At(t)
	return to, ok && !from.After(t)
}
