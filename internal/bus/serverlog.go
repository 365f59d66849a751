package bus

import (
	"context"
	"fmt"
	"log/slog"
)

// serverLog carries the embedded server's messages to slog: notices are everyday things there, so they
// are debug messages here.
type serverLog struct {
	to *slog.Logger
	// fatal has the first fatal error, which the server expects to end the process.
	fatal chan error
}

func (l *serverLog) log(level slog.Level, format string, v []any) {
	if l.to.Enabled(context.Background(), level) {
		l.to.Log(context.Background(), level, "embedded nats: "+fmt.Sprintf(format, v...))
	}
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
