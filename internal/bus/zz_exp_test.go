package bus
import ("testing";"time";"fmt";"github.com/nats-io/nats.go";"sync/atomic")
func TestZZ(t *testing.T){
 for _, size := range []int{100,200,5000} { for _, slow := range []bool{false,true} { for range 4 {
 s:=startServer(t,t.TempDir())
 var got atomic.Int64
 opts:=[]nats.Option{nats.MaxReconnects(-1)}
 if slow {opts=append(opts,nats.SetCustomDialer(slowDialer{}))}
 closed:=make(chan struct{})
 opts=append(opts,nats.DisconnectErrHandler(func(*nats.Conn, error){close(closed)}))
 nc,_:=nats.Connect(s.URL(),opts...)
 sub,_:=nc.Subscribe("x",func(*nats.Msg){got.Add(1)}); sub.SetPendingLimits(-1,-1); nc.Flush()
 pub,_:=nats.Connect(s.URL(),nats.NoReconnect())
 n:=200000; if size==5000 {n=8000}
 for range n { pub.Publish("x",make([]byte,size)) }
 pub.Flush()
 p:=s.pending()
 b:=time.Now()
 s.nats.Shutdown(); s.nats.WaitForShutdown()
 d:=time.Since(b)
 <-closed
 time.Sleep(500*time.Millisecond)
 fmt.Println(size,slow,"pending",p,"got",got.Load(),"of",n,d)
 pub.Close(); nc.Close()
 }}}
}
