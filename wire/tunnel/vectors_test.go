package tunnel_test

import (
	"encoding/hex"
	"net/netip"
	"strings"

	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// The tables below are every frame with its bytes. Encode, decode and the fuzz corpora share them, and a peer written elsewhere can
// be tested with them. A vector whose want is set is malformed, and want is part of the error's words.

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

type frameVector struct {
	name  string
	bytes string
	frame tunnel.Frame
	want  string
}

var frameVectors = []frameVector{
	{"open", "01 00 0000 00000001 0000000c 02 6570 22b3 04 0a070009 c822", tunnel.Frame{Type: tunnel.TypeOpen, Stream: 1, Payload: unhex("02 6570 22b3 04 0a070009 c822")}, ""},
	{"accept", "02 00 0000 00000001 00000000", tunnel.Frame{Type: tunnel.TypeAccept, Stream: 1}, ""},
	{"data of one byte", "03 00 0000 00000002 00000001 58", tunnel.Frame{Type: tunnel.TypeData, Stream: 2, Payload: []byte("X")}, ""},
	{"window of 128 KiB", "04 00 0000 00000001 00000004 00020000", tunnel.Frame{Type: tunnel.TypeWindow, Stream: 1, Payload: unhex("00020000")}, ""},
	{"fin", "05 00 0000 00000001 00000000", tunnel.Frame{Type: tunnel.TypeFin, Stream: 1}, ""},
	{"reset without words", "06 00 0000 00000001 00000002 0005", tunnel.Frame{Type: tunnel.TypeReset, Stream: 1, Payload: unhex("0005")}, ""},
	{"reset with words", "06 00 0000 00000001 00000004 0003 6e6f", tunnel.Frame{Type: tunnel.TypeReset, Stream: 1, Payload: unhex("0003 6e6f")}, ""},
	{"ping", "07 00 0000 00000000 00000008 0000000000000001", tunnel.Frame{Type: tunnel.TypePing, Payload: unhex("0000000000000001")}, ""},
	{"ping's reply", "07 01 0000 00000000 00000008 0000000000000001", tunnel.Frame{Type: tunnel.TypePing, Flags: tunnel.FlagReply, Payload: unhex("0000000000000001")}, ""},
	{"goaway", "08 00 0000 00000000 00000004 0006 6f6b", tunnel.Frame{Type: tunnel.TypeGoAway, Payload: unhex("0006 6f6b")}, ""},

	{"type 0", "00 00 0000 00000001 00000000", tunnel.Frame{}, "unknown type 0"},
	{"type 9", "09 00 0000 00000001 00000000", tunnel.Frame{}, "unknown type 9"},
	{"a flag on fin", "05 01 0000 00000001 00000000", tunnel.Frame{}, "flags 0x1"},
	{"an unknown flag on ping", "07 02 0000 00000000 00000008 0000000000000001", tunnel.Frame{}, "flags 0x2"},
	{"reserved bytes", "05 00 0001 00000001 00000000", tunnel.Frame{}, "reserved"},
	{"fin on stream 0", "05 00 0000 00000000 00000000", tunnel.Frame{}, "on stream 0"},
	{"ping on a stream", "07 00 0000 00000001 00000008 0000000000000001", tunnel.Frame{}, "on stream 1"},
	{"empty data", "03 00 0000 00000001 00000000", tunnel.Frame{}, "0 bytes"},
	{"data of 64 KiB and a byte", "03 00 0000 00000001 00010001", tunnel.Frame{}, "65537 bytes"},
	{"open too short", "01 00 0000 00000001 00000004 01 58 0001", tunnel.Frame{}, "4 bytes"},
	{"open of more than 1 KiB", "01 00 0000 00000001 00000401", tunnel.Frame{}, "1025 bytes"},
	{"accept with a payload", "02 00 0000 00000001 00000001 58", tunnel.Frame{}, "1 bytes"},
	{"window of three bytes", "04 00 0000 00000001 00000003 000001", tunnel.Frame{}, "3 bytes"},
	{"reset without a code", "06 00 0000 00000001 00000001 00", tunnel.Frame{}, "1 bytes"},
	{"reset with 257 bytes of words", "06 00 0000 00000001 00000103", tunnel.Frame{}, "259 bytes"},
	{"ping of seven bytes", "07 00 0000 00000000 00000007 00000000000001", tunnel.Frame{}, "7 bytes"},
	{"goaway without a code", "08 00 0000 00000000 00000000", tunnel.Frame{}, "0 bytes"},
	{"header cut short", "05 00 0000 000000", tunnel.Frame{}, "unexpected EOF"},
	{"payload cut short", "03 00 0000 00000001 00000002 58", tunnel.Frame{}, "unexpected EOF"},
	{"payload missing", "03 00 0000 00000001 00000002", tunnel.Frame{}, "unexpected EOF"},
}

type flowVector struct {
	name  string
	bytes string
	flow  tunnel.Flow
	want  string
}

var flowVectors = []flowVector{
	{"IPv4", "02 6570 22b3 04 0a070009 c822", tunnel.Flow{Endpoint: "ep", Port: 8883, Client: netip.MustParseAddrPort("10.7.0.9:51234")}, ""},
	{"IPv6", "02 6570 01bb 06 20010db8000000000000000000000001 0001", tunnel.Flow{Endpoint: "ep", Port: 443, Client: netip.MustParseAddrPort("[2001:db8::1]:1")}, ""},
	{"client unknown", "01 65 0001 00", tunnel.Flow{Endpoint: "e", Port: 1}, ""},

	{"uid empty", "00 0001 00 00 00", tunnel.Flow{}, "0 bytes"},
	{"uid with a space", "02 6520 0001 00", tunnel.Flow{}, "printable"},
	{"uid with a line feed", "02 650a 0001 00", tunnel.Flow{}, "printable"},
	{"uid longer than the payload", "ff 65 0001 00", tunnel.Flow{}, "cut short"},
	{"port 0", "01 65 0000 00", tunnel.Flow{}, "port 0"},
	{"family 5", "01 65 0001 05", tunnel.Flow{}, "family 5"},
	{"address cut short", "01 65 0001 04 0a0700", tunnel.Flow{}, "bytes of address"},
	{"bytes after the address", "01 65 0001 00 00", tunnel.Flow{}, "bytes of address"},
	{"IPv4 dressed as IPv6", "01 65 0001 06 00000000000000000000ffff0a070009 c822", tunnel.Flow{}, "dressed"},
	{"nothing", "", tunnel.Flow{}, "cut short"},
}

const ticketHex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

var ticket = tunnel.Ticket(unhex(ticketHex))

type prefaceVector struct {
	name   string
	bytes  string
	ticket tunnel.Ticket
	want   string
	status tunnel.Status
}

var prefaceVectors = []prefaceVector{
	{"pair", "49535448 4d555331 01 01 0000 " + ticketHex, ticket, "", tunnel.StatusPaired},

	{"version 2", "49535448 4d555331 02 01 0000 " + ticketHex, ticket, "version 2", tunnel.StatusVersion},
	{"kind 2", "49535448 4d555331 01 02 0000 " + ticketHex, ticket, "kind 2", tunnel.StatusMalformed},
	{"reserved bytes", "49535448 4d555331 01 01 0100 " + ticketHex, ticket, "reserved", tunnel.StatusMalformed},
	{"another magic", "49535448 4d555332 01 01 0000 " + ticketHex, ticket, "does not speak", tunnel.StatusMalformed},
	{"cut short", "49535448 4d555331 01 01 0000", ticket, "unexpected EOF", tunnel.StatusMalformed},
}

type signalVector struct {
	name   string
	bytes  string
	signal tunnel.Signal
	want   string
}

var signalVectors = []signalVector{
	{"ask", "0010 01 00000007 73706966 66653a2f 2f612f", tunnel.Ask{Request: 7, Target: "spiffe://a/"}, ""},
	{"offer", "0022 02 " + ticketHex + " 73", tunnel.Offer{Ticket: ticket, From: "s"}, ""},
	{"issued", "0025 03 00000007 " + ticketHex, tunnel.Issued{Request: 7, Ticket: ticket}, ""},
	{"refuse", "0009 04 00000007 0001 6e6f", tunnel.Refuse{Request: 7, Code: tunnel.RefuseAbsent, Message: "no"}, ""},
	{"ping", "0009 05 0000000000000001", tunnel.Ping{Token: 1}, ""},
	{"pong", "0009 06 0000000000000001", tunnel.Pong{Token: 1}, ""},
	{"decline", "0021 07 " + ticketHex, tunnel.Decline{Ticket: ticket}, ""},

	{"of no length", "0000", nil, "0 bytes"},
	{"of 4097 bytes", "1001 05", nil, "4097 bytes"},
	{"type 0", "0001 00", nil, "unknown type 0"},
	{"type 8", "0001 08", nil, "unknown type 8"},
	{"decline cut short", "0002 07 00", nil, "Decline frame"},
	{"ask cut short", "0004 01 000000", nil, "Ask frame"},
	{"ask for nobody", "0005 01 00000007", nil, "SPIFFE id of 0 bytes"},
	{"ask with a line feed", "0006 01 00000007 0a", nil, "printable"},
	{"offer cut short", "0002 02 00", nil, "Offer frame"},
	{"issued with a byte more", "0026 03 00000007 " + ticketHex + "00", nil, "Issued frame"},
	{"refuse cut short", "0003 04 0000", nil, "Refuse frame"},
	{"refuse without a code", "0006 04 00000007 00", nil, "reason of 1 bytes"},
	{"ping cut short", "0002 05 00", nil, "Ping frame"},
	{"length without body", "0009", nil, "unexpected EOF"},
	{"length cut short", "00", nil, "unexpected EOF"},
}
