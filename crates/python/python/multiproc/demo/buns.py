from multiproc import Process,Queue,current_process
import time,random,os

def consumer(q):
    while True:
        res = q.get()
        if res is None:
            break
        time.sleep(random.randint(1,3))
        print(f"进程{current_process().name}吃{res}")

def producer(q):
    for i in range(10):
        time.sleep(random.randint(1,3))
        res = f"包子{i}"
        q.put(res)
        print(f"进程{current_process().name}生产了{res}")

if __name__=="__main__":
    q = Queue()

    producers = [Process(target=producer,args=(q,))for _ in range(1)]
    consumers = [Process(target=consumer,args=(q,))for _ in range(10)]

    for p in producers+consumers:
        p.start()

    for p in producers:
        p.join()

    for _ in range(len(consumers)):
        q.put(None)

    for c in consumers:
        c.join()
