# 三条命令：make lab 打开 JupyterLab，make book 运行所有笔记本，make test 检查一切。
# 每条都先建好 .venv；只有安装软件包需要网络。

PYTHON ?= python3
BIN := .venv/bin
# 测试起一百多个进程：编译好的要存下，不然每个都从头编译一遍
export PYTHONDONTWRITEBYTECODE :=

.PHONY: lab book site site-check notebooks test quick faults fuzz bench gpu mutants clean

lab: .venv/ready
	$(BIN)/jupyter lab notebooks

book: .venv/ready .venv/npm/ready
	$(BIN)/python tools/book.py --to build

# 不用内核、不用网络的网页，由存着的输出做成，什么也不训练；打开 build/site/index.html
site: .venv/ready .venv/npm/ready
	$(BIN)/python tools/site/build.py --to build/site

# 网页的全部检查：每一节随机 10000 个滑块位置与 trace 比（make test 里是一部分）
site-check: .venv/ready-test .venv/npm/ready
	SITE_POSITIONS=10000 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/site -n 2 --dist loadfile --timeout 0

# 作者用：重新运行笔记本，把输出写回 notebooks/，并整理成规范形式
notebooks: .venv/ready
	$(BIN)/python tools/book.py --to notebooks

# 测试和笔记本一起跑，一个文件在一个进程里，共用内核和浏览器；两个核上三个进程：总有一个在等内核或浏览器
test: .venv/ready-test .venv/npm/ready
	$(BIN)/ruff check .
	OMP_NUM_THREADS=1 COMPANION_RUNS=$$(mktemp -d) $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --nbval notebooks tests

# 改代码时用：一分多钟，两个进程一起跑，不开浏览器、除了 basedpyright 不起别的进程、不重跑笔记本
quick: .venv/ready-test
	$(BIN)/ruff check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "not slow"

# 只跑故障表（make test 也跑）：真的弄坏文件、杀进程、占满内存，与朴素的实现对照
faults: .venv/ready-test
	$(BIN)/python -m pytest tests/faults

# 随机测试：make test 每个 300 例，这里每个 10000 例；哪一例不对，印出它最小的样子
fuzz: .venv/ready-test
	HYPOTHESIS_PROFILE=fuzz OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/fuzz -n 2 --timeout 0 --hypothesis-show-statistics

.venv/ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -r requirements.txt
	touch $@

.venv/ready-test: .venv/ready
	$(BIN)/pip install -e '.[test]'
	touch $@

# 公式的 MathJax，测试用的 axe；从 npm 下载一次
.venv/npm/ready: tools/site/vendor.py .venv/ready
	$(BIN)/python tools/site/vendor.py
	touch $@

# 与 d2l、torchinfo、livelossplot 轮流比速度，结果写进 benchmarks/results/ 和 README；约五十分钟，机器要闲着
bench: .venv/ready-bench .venv/npm/ready
	$(BIN)/python benchmarks/bench.py --readme

# 在 NVIDIA 显卡上核对一切，十分钟以内；结果写进 benchmarks/results/gpu/ 和 README。没有显卡就只说一句
gpu: .venv/ready-test .venv/ready-bench
	$(BIN)/python benchmarks/gpu.py --readme

# 变异测试：一次改错 helpers/ 里的一处，看测试红不红；要很久，可以只看几个文件，见 tools/mutate.py
mutants: .venv/ready-test
	$(BIN)/python tools/mutate.py

# d2l 0.17.6 要的旧版本在今天的 Python 上装不上，所以不装它的依赖
.venv/ready-bench: .venv/ready
	$(BIN)/pip install -e '.[bench]'
	$(BIN)/pip install --no-deps d2l==0.17.6
	touch $@

clean:
	rm -rf build runs
