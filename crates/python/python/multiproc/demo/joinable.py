from multiproc import Process,JoinableQueue,current_process
import random,time

def consumer(q):
    while True:
        res = q.get()
        time.sleep(random.randint(1,3))
        print(f"进程{current_process().name} 吃了 {res}")
        q.task_done()

def prodecer(q):
    for i in range(10):
        time.sleep(random.randint(1,3))
        res = f"{i}号包子"
        q.put(res)
        print(f"进程{current_process().name}生产了{res}")
    q.join()

if __name__== "__main__" :
    q = JoinableQueue()

    prodecers = [Process(target=prodecer,args=(q,)) for _ in range(1)]
    consumers = [Process(target=consumer,args=(q,),daemon=True) for _ in range(10)]

    for p in prodecers+consumers:
        p.start()

    for p in prodecers:
        p.join()


    print("所有队列处理完成，程序退出")
