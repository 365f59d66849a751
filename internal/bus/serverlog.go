package bus

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// serverLog carries the embedded server's messages to slog: notices are everyday things there, so they
// are debug messages here.
type serverLog struct {
	to *slog.Logger
	// fatal has the first fatal error, which the server expects to end the process.
	fatal chan error
}

// milder are messages that sound worse than they are here, by how they begin.
var milder = []struct {
	begin string
	level slog.Level
}{
	{"Plaintext passwords detected", slog.LevelDebug},          // derived from the secret in memory; there is no file
	{"Waiting for routing to be established", slog.LevelDebug}, // Server.await says it better
	{"Error trying to connect to route", slog.LevelWarn},       // another server is down; it tries for ever
}

func (l *serverLog) log(level slog.Level, format string, v []any) {
	text := fmt.Sprintf(format, v...)
	for _, m := range milder {
		if strings.HasPrefix(text, m.begin) {
			level = m.level
		}
	}
	l.to.Log(context.Background(), level, "embedded nats: "+text)
}

// Noticef and the others implement the server's Logger.
func (l *serverLog) Noticef(format string, v ...any) { l.log(slog.LevelDebug, format, v) }

// Warnf logs a warning.
func (l *serverLog) Warnf(format string, v ...any) { l.log(slog.LevelWarn, format, v) }

// Errorf logs an error.
func (l *serverLog) Errorf(format string, v ...any) { l.log(slog.LevelError, format, v) }

// Debugf logs below notices; the server asks for it only when told to.
func (l *serverLog) Debugf(format string, v ...any) { l.log(slog.LevelDebug, format, v) }

// Tracef is like Debugf.
func (l *serverLog) Tracef(format string, v ...any) { l.log(slog.LevelDebug, format, v) }

// Fatalf keeps the error for StartServer, which returns it.
func (l *serverLog) Fatalf(format string, v ...any) {
	select {
	case l.fatal <- fmt.Errorf(format, v...):
	default:
	}
}
