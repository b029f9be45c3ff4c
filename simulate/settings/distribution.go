package settings

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/simulate/message"
	"github.com/isthmus-io/isthmus/simulate/template"
)

// distribution reads "fixSize(10, 12) template(25, default) fix(65, BASE64)": kind, percent, and which body. A template is the default one or
// a setting of the user's own, by name.
func (r *reader) distribution(n *node, vars *template.Variables, preset *template.Template) []message.Payload {
	const name = "PayloadDistribution"
	var list []message.Payload
	rest := n.text
	for {
		if rest = strings.TrimLeft(rest, " \t\r\n,;"); rest == "" {
			return list
		}
		kind, after, ok := strings.Cut(rest, "(")
		inside, behind, closed := strings.Cut(after, ")")
		kind = strings.TrimSpace(kind)
		if !ok || !closed {
			r.refuse(name, n.from, "%.60q has no ( and )", rest).advise("it reads fixSize(10, 12) template(25, default) fix(65, BASE64)")
			return list
		}
		rest = behind
		first, second, _ := strings.Cut(inside, ",")
		second = strings.TrimSpace(second)
		share, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(first), "%"))
		if err != nil || share < 1 || share > 100 {
			r.refuse(name, n.from, "%.40q is not a percentage of 1 to 100, in %.60s(%.60s)", strings.TrimSpace(first), kind, inside)
			continue
		}
		p := message.Payload{Share: share}
		switch strings.ToLower(kind) {
		case "fixsize":
			size, err := strconv.Atoi(second)
			if err != nil || size < 0 || size > message.MaxSize {
				r.refuse(name, n.from, "%.40q is no size of 0 to %d bytes, in %s(%.60s)", second, message.MaxSize, kind, inside)
				continue
			}
			p.Fixed = make([]byte, size)
		case "fix":
			b, err := base64.StdEncoding.DecodeString(second)
			if err != nil || second == "" {
				r.refuse(name, n.from, "%.60q is not base64, in %s(..)", second, kind)
				continue
			}
			r.fits(name, n.from, len(b))
			p.Fixed = b
		case "template":
			p.Template = preset
			if second != "" && !strings.EqualFold(second, "default") {
				text := r.tree.at(second).text
				if strings.TrimSpace(text) == "" {
					r.refuse(name, n.from, "there is no setting %.60q, which template(%.60s) names", second, inside).advise("set it, in the environment or in the file, to the template's text")
					continue
				}
				p.Template = vars.Compile(text)
			}
		default:
			r.refuse(name, n.from, "%.40q is unknown: it is fixSize, fix or template", kind)
			continue
		}
		list = append(list, p)
	}
}
