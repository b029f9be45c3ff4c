package resolver

import (
	"context"
	"encoding/binary"
	"log/slog"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/resolver/cookie"
	"github.com/isthmus-io/isthmus/resolver/message"
)

const (
	// udpSize is the largest datagram sent and asked for: it fits every path without fragments (DNS flag day 2020).
	udpSize = 1232
	// paddingBlock is what padded replies are a multiple of (RFC 8467 section 4.1).
	paddingBlock = 468

	maxMessage = 65535
	opcodes    = 0xf << 11
)

// reply completes Body: what is asked for in EDNS, the size a client takes, the header.
func (in *inquiry) reply(now time.Time) []byte {
	limit := maxMessage
	if in.via == overUDP {
		limit = dns.MinMsgSize
		if in.q.EDNS {
			limit = min(max(limit, int(in.q.UDPSize)), udpSize)
		}
	}
	if in.why != nil {
		in.appendWhy()
	}
	body, extras := len(in.v.Body), in.additionals
	in.appendOPT(now, limit)
	if len(in.v.Body) > limit {
		in.cut(body, extras, now, limit)
	}
	in.header()
	return in.v.Body
}

// cut makes a reply shorter that is too long: additional records go first, and are not missed (RFC 2181 section 9); then all others,
// for a part of an answer is of no use, and the client comes again over TCP.
func (in *inquiry) cut(body int, extras uint16, now time.Time, limit int) {
	in.v.Body, in.additionals = in.v.Body[:body], extras
	if extras > 0 {
		in.header()
		rd, _ := message.Read(in.v.Body)
		end := rd.Offset()
		for range int(in.v.Answers) + int(in.v.Authorities) {
			rec, _ := rd.Next()
			end = rec.End
		}
		in.v.Body, in.additionals = in.v.Body[:end], 0
		in.tc = in.why != nil
		in.appendOPT(now, limit)
		if len(in.v.Body) <= limit {
			return
		}
		in.additionals = 0
	}
	in.v.Body, in.v.Answers, in.v.Authorities, in.tc = in.v.Body[:in.q.End], 0, 0, true
	if in.via != overUDP { // there is no larger message to come for
		in.fail("the answer fits no message", dns.ExtendedErrorCodeOther, "the answer fits no message")
	}
	in.passed = nil
	in.appendOPT(now, limit)
}

// appendOPT answers an OPT record with one (RFC 6891 section 6.1.1). What does not fit of an extended error's text is left out.
func (in *inquiry) appendOPT(now time.Time, limit int) {
	if !in.q.EDNS || in.bare {
		return
	}
	out, at := message.BeginOPT(in.v.Body, udpSize, in.extended|in.v.Rcode, in.q.DO)
	if in.q.Cookie != nil {
		out = append(out, 0, message.OptionCookie, 0, cookie.Size)
		out = in.r.cookies.Append(out, in.q.Cookie, in.from.Addr(), now)
	}
	out = append(out, in.passed...)
	if text := in.v.EDEText; text != "" {
		if room := limit - len(out) - 6; room >= 0 {
			out = message.AppendEDE(out, in.v.EDE, text[:min(len(text), room)])
		}
	}
	if in.q.Padded && in.via >= overTLS && len(out)+4 <= limit { // RFC 7830 section 6: never in the clear
		size := min((len(out)+4+paddingBlock-1)/paddingBlock*paddingBlock, limit)
		out = append(out, 0, message.OptionPadding)
		out = binary.BigEndian.AppendUint16(out, uint16(size-len(out)-2))
		for len(out) < size {
			out = append(out, 0)
		}
	}
	message.EndOPT(out, at)
	in.v.Body = out
	in.additionals++
}

func (in *inquiry) header() {
	flags := message.QR | in.q.Flags&(opcodes|message.RD|message.CD) | in.st.recursion | uint16(in.v.Rcode&0xf)
	if in.v.Authoritative {
		flags |= message.AA
	}
	if in.tc {
		flags |= message.TC
	}
	if in.ad && (in.q.DO || in.q.Flags&message.AD != 0) { // RFC 6840 section 5.8
		flags |= message.AD
	}
	var questions uint16
	if in.q.End > message.HeaderSize {
		questions = 1
	}
	message.PutHeader(in.v.Body, in.q.ID, flags, questions, in.v.Answers, in.v.Authorities, in.additionals)
}

// log tells of a query that was answered, to those who want to see each.
func (in *inquiry) log(now time.Time) {
	ctx := context.Background()
	if !in.r.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	in.r.log.LogAttrs(ctx, slog.LevelDebug, "resolved",
		slog.String("name", message.Text(in.q.Spelled)), slog.String("type", dns.Type(in.q.Type).String()), slog.String("client", in.from.String()),
		slog.String("over", in.via.String()), slog.String("rcode", dns.RcodeToString[in.extended|in.v.Rcode]), slog.String("result", in.result.String()),
		slog.String("why", in.v.Reason), slog.Duration("took", now.Sub(in.began)))
}
